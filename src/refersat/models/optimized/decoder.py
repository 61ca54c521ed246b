"""The mask decoder in float32 within a model in bfloat16: it is a hundredth of the work, and draws the mask's edge."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from transformers.models.sam2.modeling_sam2 import Sam2MaskDecoder


def keep_precise(decoder: Sam2MaskDecoder) -> None:
    """Have it compute in float32, whatever it is given: in bfloat16, products that nearly cancel leave mostly noise."""
    if decoder.conv_s0.weight.dtype != torch.bfloat16:
        return
    decoder.float()
    for part in (decoder, decoder.conv_s0, decoder.conv_s1):  # the model calls the two by themselves
        part.register_forward_pre_hook(_to_float, with_kwargs=True)


def _to_float(module: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
    return tree_map(_widened, given), tree_map(_widened, named)


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
