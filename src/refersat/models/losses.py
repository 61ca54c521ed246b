"""Losses of RS2-SAM 2: cross-entropy, dice, and the text-guided boundary loss.

Source: arXiv 2503.07266, section 3.5 (the boundary loss is trained with in its first version). The model's
one logit p stands for the two-class map [1 - p, p]; its softmax makes the foreground probability
sigmoid(2p - 1), which is why the released model answers foreground where p > 0.5.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

BoundaryKind = Literal["released", "soft"]
"""`released`: edges of the hard mask (logit > 0), no gradient to the mask. `soft`: edges of probabilities."""

CLASS_WEIGHTS = (0.9, 1.1)
SOFT_SCALE_FLOOR = 0.5
"""The `soft` loss bounds the text scalar away from 0, else the loss is solved by driving it there."""


def foreground_probability(logits: Tensor) -> Tensor:
    """Softmax of the two-class map [1 - p, p]: sigmoid(2p - 1), same shape as `logits`."""
    return torch.sigmoid(2 * logits - 1)


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Weighted cross-entropy per sample.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) with 0 or 1.

    Returns:
        (B,) mean over pixels, weighted by class (0.9 background, 1.1 foreground).
    """
    weight = CLASS_WEIGHTS[0] + (CLASS_WEIGHTS[1] - CLASS_WEIGHTS[0]) * target
    loss = F.binary_cross_entropy_with_logits(2 * logits - 1, target, reduction="none")
    return (weight * loss).flatten(1).sum(1) / weight.flatten(1).sum(1)


def dice(logits: Tensor, target: Tensor, *, smooth: float = 1e-6) -> Tensor:
    """Dice loss per sample, mean over background and foreground: (B, 1, H, W) twice -> (B,).

    The released code sums over batch and classes; the mean keeps its meaning at any batch size.
    """
    probability = foreground_probability(logits)
    loss = torch.zeros(len(logits), device=logits.device)
    for p, t in ((1 - probability, 1 - target), (probability, target)):
        overlap = (p * t).flatten(1).sum(1)
        loss = loss + 1 - (2 * overlap + smooth) / (p.flatten(1).sum(1) + t.flatten(1).sum(1) + smooth)
    return loss / 2


def edge_map(mask: Tensor) -> Tensor:
    """|m[i,j] - m[i-1,j]| + |m[i,j] - m[i,j-1]|, full size, first row and column without neighbour: (B, 1, H, W)."""
    vertical = F.pad(mask.diff(dim=-2).abs(), (0, 0, 1, 0))
    horizontal = F.pad(mask.diff(dim=-1).abs(), (1, 0, 0, 0))
    return vertical + horizontal


def boundary(logits: Tensor, target: Tensor, text_weight: Tensor, *, kind: BoundaryKind) -> Tensor:
    """Text-guided boundary loss per sample.

    Args:
        logits: (B, 1, H, W).
        target: (B, 1, H, W) with 0 or 1.
        text_weight: (B,) scalar of the phrase. Each weight belongs to its own sample (the released code mixes
            them in a batch; at its batch size of 1 that is the same).
        kind: see `BoundaryKind`.

    Returns:
        (B,) mean squared difference of the scaled edge maps.
    """
    if kind == "released":
        prediction = (logits > 0).to(target.dtype)
        scale = text_weight
    else:
        prediction = foreground_probability(logits)
        scale = SOFT_SCALE_FLOOR + F.softplus(text_weight)
    difference = (edge_map(prediction) - edge_map(target)).square().flatten(1).mean(1)
    return scale.square() * difference
