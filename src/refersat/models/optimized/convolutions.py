"""Convolutions of the trunk whose weights are laid out once, on features whose channels lie side by side in memory."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.convolutions import ResidualConvolutions
from refersat.models.hiera import ConvolutionalStem

TYPICAL_SIDE = 64
"""Cells for which the layout is chosen; any number of them may come."""


class PackedConvolution(nn.Module):
    """A convolution, or one and a residual, in one pass; for inference on a CPU alone, as `PackedLinear`.

    Args:
        convolution: float32 or bfloat16, without dilation or groups.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        assert convolution.groups == 1
        assert convolution.dilation == (1, 1)
        assert convolution.padding_mode == "zeros"
        self.stride, self.padding = list(convolution.stride), list(cast(tuple[int, ...], convolution.padding))
        self.packed = torch._C._nn.mkldnn_reorder_conv2d_weight(  # type: ignore[call-arg]  # its stub lacks the last
            convolution.weight.detach().to_mkldnn(),
            self.padding,
            self.stride,
            [1, 1],
            1,
            [1, convolution.in_channels, TYPICAL_SIDE, TYPICAL_SIDE],
        )
        self.bias = None if convolution.bias is None else convolution.bias.detach().clone()

    def forward(self, features: Tensor, residual: Tensor | None = None) -> Tensor:
        """(B, C, H, W) -> (B, C', H', W'); a residual (B, C', H', W') is added."""
        features = features.contiguous(memory_format=torch.channels_last)
        shape = (self.packed, self.bias, self.padding, self.stride, [1, 1], 1)
        operation = torch.ops.mkldnn._convolution_pointwise
        if residual is None:
            return cast(Tensor, operation(features, *shape, "none", [], ""))
        residual = residual.contiguous(memory_format=torch.channels_last)
        return cast(Tensor, operation.binary(features, residual, *shape, "add", 1.0, None, [], None))


class FastResidualConvolutions(nn.Module):
    """`ResidualConvolutions` with packed weights."""

    def __init__(self, plain: ResidualConvolutions) -> None:
        super().__init__()
        first, self.norm, _, last = plain.layers
        self.first, self.last = (PackedConvolution(cast(nn.Conv2d, layer)) for layer in (first, last))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        # A GELU of what is not contiguous is copied first.
        channels_last = self.norm(self.first(features)).permute(0, 2, 3, 1)
        return cast(Tensor, self.last(F.gelu(channels_last).permute(0, 3, 1, 2), residual=features))


class FastStem(nn.Module):
    """`ConvolutionalStem` with packed weights of the convolutions that stand alone; it takes the layers over."""

    def __init__(self, stem: ConvolutionalStem) -> None:
        super().__init__()
        self.layers = stem.layers
        for place, layer in enumerate(self.layers):
            if isinstance(layer, nn.Conv2d):
                self.layers[place] = PackedConvolution(layer)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, S/4, S/4, C)."""
        return cast(Tensor, self.layers(pixel_values)).permute(0, 2, 3, 1)
