"""Boxes as tensors: two ways to write them, and how much two of them have in common.

Corners are x0, y0, x1, y1; centres are x, y, width, height. Shares of the image's width and height, or pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def to_corners(boxes: Tensor) -> Tensor:
    """Centres (..., 4) -> corners (..., 4)."""
    centre, size = boxes.chunk(2, dim=-1)
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def to_centres(boxes: Tensor) -> Tensor:
    """Corners (..., 4) -> centres (..., 4)."""
    low, high = boxes.chunk(2, dim=-1)
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def overlaps(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Intersection over union, 0 to 1, and its generalised form, -1 to 1, of corners (..., 4) that broadcast.

    The second goes on to fall when boxes that do not touch move apart. Two boxes without area have 0 in common.

    Source: Rezatofighi et al., "Generalized intersection over union" (CVPR 2019), algorithm 1.
    """
    intersection = _area(torch.maximum(boxes[..., :2], others[..., :2]), torch.minimum(boxes[..., 2:], others[..., 2:]))
    union = _area(boxes[..., :2], boxes[..., 2:]) + _area(others[..., :2], others[..., 2:]) - intersection
    hull = _area(torch.minimum(boxes[..., :2], others[..., :2]), torch.maximum(boxes[..., 2:], others[..., 2:]))
    tiny = torch.finfo(hull.dtype).tiny
    iou = intersection / union.clamp(min=tiny)
    return iou, iou - (hull - union) / hull.clamp(min=tiny)


def _area(low: Tensor, high: Tensor) -> Tensor:
    return (high - low).clamp(min=0).prod(dim=-1)
