"""What one forward pass of a grounder's training gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.models.grounding.boxes import to_centres
from refersat.models.grounding.configuration import GroundingConfig
from refersat.models.grounding.letterbox import fitted, letterbox
from refersat.text.phrases import Tokenizer
from refersat.training.batch import AnyBatch, View


@dataclass(frozen=True)
class GroundingBatch(AnyBatch):
    """B phrases about N letterboxed views of side S, B/N in a row about each.

    `pixel_values` (N, 3, S, S) and `valid` (N, 2) by `letterbox`, `input_ids` and `attention_mask` (B, L), `boxes`
    (B, 4) centre and size in shares of the view, of no meaning where `present` (B,) is 0; the rest as in `Batch`, with
    `labels` and `label_weights` in the letterbox, too.
    """

    pixel_values: Tensor
    valid: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    boxes: Tensor
    present: Tensor
    named: Tensor | None = None
    labels: Tensor | None = None
    label_weights: Tensor | None = None
    views: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


def collate(views: Sequence[View], tokenizer: Tokenizer, config: GroundingConfig) -> GroundingBatch:
    """Put views together; `config.image_size` is the side of `pixel_values`."""
    pixel_values, valid = letterbox([view.pixels for view in views], config.image_size)
    phrases = tuple(phrase for view in views for phrase in view.phrases)
    input_ids, attention_mask = tokenizer(phrases)
    corners = torch.tensor([box or (0.0, 0.0, 1.0, 1.0) for view in views for box in view.boxes]).reshape(-1, 4)
    labels = [_letterboxed(view.labels, view.pixels) for view in views if view.labels is not None]
    weights = [_letterboxed(view.label_weights, view.pixels) for view in views if view.label_weights is not None]
    return GroundingBatch(
        pixel_values=pixel_values,
        valid=valid,
        input_ids=input_ids,
        attention_mask=attention_mask,
        boxes=to_centres(corners),
        present=torch.tensor([float(box is not None) for view in views for box in view.boxes]),
        named=torch.tensor([name for view in views for name in view.named or ()])
        if views[0].named is not None
        else None,
        labels=torch.from_numpy(np.stack(labels)).long() if labels else None,
        label_weights=torch.from_numpy(np.stack(weights)) if weights else None,
        views=tuple(view.name for view in views),
        phrases=phrases,
    )


def _letterboxed(cells: NDArray[np.int64] | NDArray[np.float32], pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A map (H, H) that stretches over a view, in the view's letterbox, which is filled up with nothing."""
    side = len(cells)
    height, width = fitted(pixels.shape[:2], side)
    boxed = np.zeros((side, side), np.float32)
    boxed[:height, :width] = cv2.resize(cells.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    return boxed
