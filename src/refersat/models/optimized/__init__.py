"""The one seam between the models, which are written to be read, and their fast forms. See `optimize`."""

from __future__ import annotations

import torch

from refersat.models.optimized.block import pack_blocks
from refersat.models.optimized.union import pack_layers
from refersat.models.rs2sam2 import RS2Sam2Model

__all__ = ["can_optimize", "optimize"]


def can_optimize(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this machine has a faster form of a model than the plain one: on a CPU with oneDNN's kernels."""
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def optimize(model: RS2Sam2Model, device: torch.device, dtype: torch.dtype) -> RS2Sam2Model:
    """Make a model answer faster on a device, in place, without a second copy of its weights.

    The function stays the same but for rounding. What comes back is for inference alone: its weights have neither their
    names nor gradients any more. On a machine without a faster form the model is returned as it is.

    Args:
        model: on `device`, in `dtype`, in evaluation mode.
        device: where it runs.
        dtype: float32 or bfloat16.
    """
    if can_optimize(device, dtype):
        pack_layers(model.union_encoder.layers)
        pack_blocks(model.trunk.blocks)
    return model
