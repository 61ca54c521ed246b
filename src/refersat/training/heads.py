"""Heads that help learning from few images; they are thrown away after training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.training.batch import AnyBatch


class CategoryHead(nn.Module):
    """Says what every pixel shows from the trunk's maps: a teacher for the trunk.

    A phrase teaches about its target only; this teaches about all objects of the view at once.
    """

    def __init__(self, widths: list[int], categories: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, categories + 1)) for width in widths
        )

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Maps (N, S/4, S/4, C), (N, S/8, S/8, 2C), ... -> logits (N, categories + 1, S/4, S/4)."""
        size = maps[0].shape[1:3]
        logits = [level(each).permute(0, 3, 1, 2) for level, each in zip(self.levels, maps, strict=True)]
        upsampled = [F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in logits]
        return torch.stack(upsampled).sum(0)


def category_loss(logits: Tensor, batch: AnyBatch) -> Tensor:
    """Weighted sum over all cells of the cross-entropy of logits (N, categories + 1, S/4, S/4), a scalar."""
    assert batch.labels is not None and batch.label_weights is not None
    losses = F.cross_entropy(logits.float(), batch.labels, reduction="none")
    return (batch.label_weights * losses).sum()
