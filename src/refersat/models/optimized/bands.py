"""Layers that make much of every place, done for a part of the places after the other: memory for all is not needed."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

BAND_BYTES = 20 * 2**20
"""Of what a layer makes at once: all of the released model's third stage, where most of its blocks are."""


def in_bands(work: Callable[[Tensor], Tensor], features: Tensor, dimension: int, *, unit: int, size: int) -> Tensor:
    """What `work` makes of features, where every `unit` along a dimension is worked on by itself.

    Args:
        work: keeps the order along the dimension, and whatever the features are otherwise.
        features: any shape; a band of them is contiguous.
        dimension: its length is a multiple of `unit`.
        unit: positions that stay together.
        size: bytes that `work` makes of a unit.
    """
    step = unit * max(1, BAND_BYTES // size)
    if step >= features.shape[dimension]:
        return work(features)
    return torch.cat([work(band.contiguous()) for band in torch.split(features, step, dimension)], dimension)
