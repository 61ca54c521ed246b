"""Linear layers whose weights are laid out once for the processor's matrix kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

TYPICAL_ROWS = 4096
"""Rows for which the layout is chosen; any number of them may come."""


class PackedLinear(nn.Module):
    """act(x W^T + b), or x W^T + b + residual, in one pass. For inference on a CPU alone: it has no gradient.

    PyTorch lays a weight out anew in every call, and runs the GELU or the addition that follows as a pass of its own.
    oneDNN, which it is built upon, can do better; `torch.compile` calls it in the same way.

    Args:
        weight: (out, in), float32 or bfloat16.
        bias: (out,) or None.
        gelu: whether a GELU follows.

    Attributes:
        width: of what comes out.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, gelu: bool = False) -> None:
        super().__init__()
        self.packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), TYPICAL_ROWS)
        self.bias = None if bias is None else bias.detach().clone()
        self.gelu = gelu
        self.width = weight.shape[0]

    @classmethod
    def of(cls, linear: nn.Linear, *, gelu: bool = False) -> PackedLinear:
        """The same function as a layer of PyTorch."""
        return cls(linear.weight, linear.bias, gelu=gelu)

    def forward(self, features: Tensor, residual: Tensor | None = None) -> Tensor:
        """(..., in) -> (..., out); a residual (..., out) is added, where no GELU follows."""
        operations, weight = torch.ops.mkldnn, self.laid_out()
        if residual is not None:
            assert not self.gelu
            return cast(Tensor, operations._linear_pointwise.binary(features, residual, weight, self.bias, "add"))
        activation, kind = ("gelu", "none") if self.gelu else ("none", "")  # "none": the exact one, by erf
        return cast(Tensor, operations._linear_pointwise(features, weight, self.bias, activation, [], kind))

    def laid_out(self) -> Tensor:
        """The weight (out, in) as oneDNN takes it."""
        return self.packed


def side_by_side(layers: Sequence[nn.Linear], *, gelu: bool = False) -> PackedLinear:
    """Layers that read the same features, as one: its output is theirs, joined."""
    return PackedLinear(torch.cat([layer.weight for layer in layers]), _joined_bias(layers), gelu=gelu)


def summed(layers: Sequence[nn.Linear], factors: Sequence[float]) -> PackedLinear:
    """Layers whose outputs are added, each times a factor, as one that reads their joined inputs."""
    weights = [layer.weight * factor for layer, factor in zip(layers, factors, strict=True)]
    biases = [layer.bias.float() * factor for layer, factor in zip(layers, factors, strict=True)]
    bias = torch.stack(biases).sum(0).to(layers[0].weight.dtype)
    return PackedLinear(torch.cat(weights, dim=1), bias)


def _joined_bias(layers: Sequence[nn.Linear]) -> Tensor:
    return torch.cat([layer.bias for layer in layers])
