"""The masks of the objects that are meant, put together from all views of the image. Not part of RS2-SAM 2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from refersat.models.selection import NOT_MEANT, Selection, both
from refersat.models.some_images import SomeImages

TAKEN_TO_PIECES = 2.5
"""A coarser view that draws so many times as much of all that a phrase means shows it whole, finer ones in pieces."""


@dataclass(frozen=True)
class Meant:
    """What B phrases mean; logits are for a plain sigmoid.

    Attributes:
        selection: which objects.
        masks: logits (B, 1, S/4, S/4) of what is drawn of them.
        boxes: logits (B, 1, S/4, S/4) of whole boxes, where nothing is drawn; None if none are wanted.
    """

    selection: Selection
    masks: Tensor
    boxes: Tensor | None

    @classmethod
    def of(cls, selection: Selection, shown: Sequence[Tensor], *, least_coverage: float) -> Meant:
        """What is meant of what was seen in one view or more.

        Args:
            selection: which objects are.
            shown: as in `selected_masks`.
            least_coverage: see `RS2Sam2Config`.
        """
        side = shown[0].shape[-1]
        boxes = selection.outlined(shown, least_coverage, side) if least_coverage else None
        return cls(selection, selected_masks(shown, selection), boxes)

    def if_unsure(self, again: Meant, some: SomeImages) -> Meant:
        """The same, but for phrases of which no object seems to be meant, what another look drew that is no guess.

        Args:
            again: what phrases about some images meant in the other look.
            some: those.
        """
        unsure = (some.of_phrases(self.selection.unsure()) & ~again.selection.guessed())[:, None, None, None]

        def mixed(before: Tensor, after: Tensor) -> Tensor:
            return some.put_into(before, torch.where(unsure, after, some.of_phrases(before)))

        boxes = self.boxes
        if boxes is not None and again.boxes is not None:
            boxes = mixed(boxes, again.boxes)
        return replace(self, masks=mixed(self.masks, again.masks), boxes=boxes)


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
