"""The mask of the objects that are meant, put together from all views of the image. Not part of RS2-SAM 2."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from refersat.models.selection import NOT_MEANT, Selection, both

TAKEN_TO_PIECES = 2.5
"""A coarser view that draws so many times as much of all that a phrase means shows it whole, finer ones in pieces."""


def selected_masks(shown: Sequence[Tensor], selection: Selection) -> Tensor:
    """Logits (B, 1, S/4, S/4), for a plain sigmoid, of what phrases mean.

    Each object is drawn in the finest view that shows it. Only where a coarser one draws much more of all that a phrase
    means, that is drawn there, too: outlines are blunter there, but large objects are whole.

    Args:
        shown: logits (B, 1, h, w) of what is of the named kind or drawn by the decoder in each view, the finest first.
        selection: which objects are meant.
    """
    size = shown[0].shape[-2:]
    sightings, logits = selection.sightings, selection.to_draw()
    cells_of_views = sightings.spread(logits, NOT_MEANT)
    drawn = [_enlarged(both(each, cells), size) for each, cells in zip(shown, cells_of_views, strict=True)]
    together = torch.stack(drawn).amax(0)
    repeated = sightings.spread(logits, NOT_MEANT, repeated=True)[1:] if len(shown) > 1 else ()
    for each, cells in zip(shown[1:], repeated, strict=True):
        whole = _enlarged(both(each, cells), size)
        in_pieces = _area(whole) > TAKEN_TO_PIECES * _area(together)
        together = torch.where(in_pieces, torch.maximum(together, whole), together)
    return together


def _enlarged(logits: Tensor, size: torch.Size) -> Tensor:
    return logits if logits.shape[-2:] == size else F.interpolate(logits, size, mode="bilinear")


def _area(logits: Tensor) -> Tensor:
    return logits.sigmoid().sum((1, 2, 3), keepdim=True)
