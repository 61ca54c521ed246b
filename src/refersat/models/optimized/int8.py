"""Linear layers whose weights are kept in 8 bits: half the memory of bfloat16, for some time to widen them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from refersat.models.optimized.packed import PackedLinear

LARGEST = 127
"""As far from zero as weights go in 8 bits, on either side."""


class Int8Linear(PackedLinear):
    """`PackedLinear` with a weight of whole numbers and a scale for each output channel.

    The weight is widened for each product; activations keep their format. So nothing has to be calibrated on data: a
    channel's largest weight decides on its scale.

    Args:
        linear: the layer, which is no longer needed.
    """

    def __init__(self, linear: PackedLinear) -> None:
        nn.Module.__init__(self)
        weight = linear.packed.to_dense()
        # divided by the scale as it is stored, so that the whole numbers make up for its rounding
        self.scale: Tensor = (weight.abs().amax(1, keepdim=True) / LARGEST).clamp(min=torch.finfo(weight.dtype).tiny)
        self.whole = (weight.float() / self.scale.float()).round().clamp(-LARGEST, LARGEST).to(torch.int8)
        self.bias, self.gelu, self.width = linear.bias, linear.gelu, linear.width

    def laid_out(self) -> Tensor:
        """The weight (out, in) in the format of the scale."""
        return self.whole * self.scale


def keep_in_int8(part: nn.Module) -> None:
    """Keep the weights of all packed layers within a part of a model in 8 bits, in place."""
    for parent in list(part.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is PackedLinear:
                setattr(parent, name, Int8Linear(child))
