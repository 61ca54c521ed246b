"""What one forward pass of a grounder's training gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.box import Box
from refersat.models.grounding.boxes import to_centres
from refersat.models.grounding.configuration import GroundingConfig
from refersat.models.grounding.letterbox import fitted, views
from refersat.models.sightings import Objects
from refersat.text.phrases import Tokenizer
from refersat.training.batch import AnyBatch, View
from refersat.training.layout_sampler import moved_objects


@dataclass(frozen=True)
class GroundingBatch(AnyBatch):
    """B phrases about N letterboxed views of side S, B/N in a row about each.

    `pixel_values` (N, 3, S, S) and `valid` (N, 2) by `letterbox.views`, `input_ids` and `attention_mask` (B, L),
    `boxes` (B, T, 4) centre and size in shares of the view, of no meaning where `there` (B, T) is False; the rest as in
    `Batch`, with `labels` and `label_weights` in the letterbox, too. Where an eye has seen the views, `maps` are those
    of its `Sight`, `objects` what it found, `own_boxes` (N, K, 4) the boxes of the outlined objects that these are,
    in the form of `boxes` and 0 for those that are none, and `pixel_values` is empty.
    """

    pixel_values: Tensor
    valid: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    boxes: Tensor
    there: Tensor
    present: Tensor
    maps: tuple[Tensor, ...] = ()
    objects: Objects | None = None
    own_boxes: Tensor | None = None
    named: Tensor | None = None
    labels: Tensor | None = None
    label_weights: Tensor | None = None
    views: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()

    def to(self, device: torch.device) -> GroundingBatch:
        """The same batch on a device."""
        moved = replace(super().to(device), maps=tuple(each.to(device) for each in self.maps))
        found = self.objects
        return moved if found is None else replace(moved, objects=moved_objects(found, device))


def targets_of(boxes: Sequence[Sequence[Box]]) -> tuple[Tensor, Tensor]:
    """For each of B phrases its boxes, corners -> (B, T, 4), centres, and which are there (B, T); T is 1 at least."""
    most = max([1, *(len(each) for each in boxes)])
    corners = torch.zeros(len(boxes), most, 4)
    there = torch.zeros(len(boxes), most, dtype=torch.bool)
    for row, each in enumerate(boxes):
        if each:
            corners[row, : len(each)] = torch.tensor(each)
            there[row, : len(each)] = True
    corners[~there] = torch.tensor([0.0, 0.0, 1.0, 1.0])
    return to_centres(corners), there


def collate(shown: Sequence[View], tokenizer: Tokenizer, config: GroundingConfig) -> GroundingBatch:
    """Put views together; `config.image_size` is the side of `pixel_values`."""
    pixel_values, valid = views([view.pixels for view in shown], config)
    phrases = tuple(phrase for view in shown for phrase in view.phrases)
    input_ids, attention_mask = tokenizer(phrases)
    boxes, there = targets_of([[box] if box is not None else [] for view in shown for box in view.boxes])
    labels = [_letterboxed(view.labels, view.pixels) for view in shown if view.labels is not None]
    weights = [_letterboxed(view.label_weights, view.pixels) for view in shown if view.label_weights is not None]
    return GroundingBatch(
        pixel_values=pixel_values,
        valid=valid,
        input_ids=input_ids,
        attention_mask=attention_mask,
        boxes=boxes,
        there=there,
        present=there.any(1).float(),
        named=torch.tensor([name for view in shown for name in view.named or ()])
        if shown[0].named is not None
        else None,
        labels=torch.from_numpy(np.stack(labels)).long() if labels else None,
        label_weights=torch.from_numpy(np.stack(weights)) if weights else None,
        views=tuple(view.name for view in shown),
        phrases=phrases,
    )


def _letterboxed(cells: NDArray[np.int64] | NDArray[np.float32], pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A map (H, H) that stretches over a view, in the view's letterbox, which is filled up with nothing."""
    side = len(cells)
    height, width = fitted(pixels.shape[:2], side)
    boxed = np.zeros((side, side), np.float32)
    boxed[:height, :width] = cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    return boxed
