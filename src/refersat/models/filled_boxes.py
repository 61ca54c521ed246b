"""Masks of boxes, for want of better ones."""

from __future__ import annotations

import torch
from torch import Tensor

FILLED = 6.0
"""Logit in the middle of a mask that fills its box; far outside it is twice as low."""


def filling(boxes: Tensor, side: int) -> Tensor:
    """Logits (..., side, side) of masks that fill boxes (..., 4) with round corners, 0 where a box's edges are."""
    cells = (torch.arange(side, device=boxes.device, dtype=torch.float32) + 0.5) / side
    low, high = boxes.float().chunk(2, dim=-1)
    centre, half = (low + high) / 2, ((high - low) / 2).clamp(min=0.5 / side)
    across, down = ((cells - centre[..., axis, None]) / half[..., axis, None] for axis in (0, 1))
    radius = ((across**4)[..., None, :] + (down**4)[..., :, None]).sqrt().sqrt()
    return (FILLED * (1 - radius)).clamp(min=-2 * FILLED)
