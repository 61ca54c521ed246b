"""The residual convolutions that models trained from scratch have beside SAM 2's layers."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from transformers.models.sam2.modeling_sam2 import Sam2LayerNorm


class ResidualConvolutions(nn.Module):
    """x + Conv(GELU(Norm(Conv(x)))), 3x3, at one resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, kernel_size=3, padding=1),
            Sam2LayerNorm(width, data_format="channels_first"),
            nn.GELU(),
            nn.Conv2d(width, width, kernel_size=3, padding=1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return features + cast(Tensor, self.layers(features))
