"""The one seam between the models, which are written to be read, and their fast forms. See `optimize`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from transformers.models.sam2.modeling_sam2 import Sam2MaskDecoder

from refersat.memory import LARGE_MODEL, give_back
from refersat.models.beit3 import UnionEncoderLayer
from refersat.models.convolutions import ResidualConvolutions
from refersat.models.hiera import ConvolutionalStem, FusedBlock, FusedHiera, resized_positions
from refersat.models.mask_refiner import MaskRefiner
from refersat.models.optimized.block import FastBlock
from refersat.models.optimized.compiled import CompiledBlock
from refersat.models.optimized.convolutions import FastResidualConvolutions, FastStem
from refersat.models.optimized.decoder import keep_precise
from refersat.models.optimized.int8 import keep_in_int8
from refersat.models.optimized.refiner import FastRefiner
from refersat.models.optimized.union import FastUnionLayer
from refersat.models.selection import InstanceSelector

__all__ = ["can_optimize", "optimize"]

KEPT_SIZES = 8
"""Sizes of views for which the trunk's positions are kept."""

_Forms: TypeAlias = Mapping[type[nn.Module], Callable[[Any], nn.Module]]

_PACKED: _Forms = {
    ConvolutionalStem: FastStem,
    MaskRefiner: FastRefiner,
    ResidualConvolutions: FastResidualConvolutions,
    FusedBlock: FastBlock,
    UnionEncoderLayer: FastUnionLayer,
}
_COMPILED: _Forms = {FusedBlock: CompiledBlock}


def can_optimize(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this machine has a faster form of a model than the plain one: on a CPU with oneDNN's kernels."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


@torch.no_grad()
def optimize(
    model: nn.Module, device: torch.device, dtype: torch.dtype, *, compiled: bool = False, int8: bool = False
) -> None:
    """Make a model answer faster on a device, in place, layer by layer: without a second copy of its weights.

    The function stays the same but for rounding. The model is for inference alone from then on: the weights of the
    layers that are replaced have neither their names nor gradients any more. Where this machine has no faster form,
    nothing changes.

    Args:
        model: an RS2-SAM 2 on `device`, in `dtype`, in evaluation mode.
        device: where it runs.
        dtype: float32 or bfloat16.
        compiled: where the fast forms of this package do not apply, as on a GPU, have PyTorch compile the trunk's
            blocks. Their first run then takes minutes.
        int8: keep the weights of the trunk's and the union encoder's linear layers in 8 bits; only where
            `can_optimize`.
    """
    # Of a large model, memory is given back after each layer that is replaced, after each of the trunk's stages and
    # after the answer; that takes some of the time.
    gives_back = sum(weight.numel() for weight in model.parameters()) >= LARGE_MODEL
    assert can_optimize(device, dtype) or not int8
    forms = _PACKED if can_optimize(device, dtype) else _COMPILED if compiled else {}
    places = [
        (parent, name)
        for parent in model.modules()
        if not isinstance(parent, CompiledBlock)
        for name, child in parent.named_children()
        if type(child) in forms
    ]
    for parent, name in places:  # nothing else holds a layer here, so that it goes when its fast form is made
        child = getattr(parent, name)
        setattr(parent, name, forms[type(child)](child))
        if int8:
            keep_in_int8(getattr(parent, name))
        if gives_back:
            give_back()
    if forms is _PACKED:
        for part in model.modules():
            if isinstance(part, Sam2MaskDecoder):
                keep_precise(part)
            if isinstance(part, InstanceSelector):
                part.float()  # places need more digits than bfloat16 has
            if isinstance(part, FusedHiera):
                part._positions = _kept_positions(part)  # type: ignore[method-assign, assignment]
                if gives_back:
                    for end in part.stage_ends:
                        part.blocks[end].register_forward_hook(_give_back)
        if gives_back and places:
            model.register_forward_hook(_give_back)
        give_back()


def _kept_positions(trunk: FusedHiera) -> Callable[[int, int], Tensor]:
    """`FusedHiera._positions`, worked out once for each size of view. It holds the weights alone, not the trunk."""
    return lru_cache(KEPT_SIZES)(partial(resized_positions, trunk.pos_embed, trunk.pos_embed_window))


def _give_back(*_: object) -> None:
    """A hook: give back the memory that a part of the model used."""
    give_back()
