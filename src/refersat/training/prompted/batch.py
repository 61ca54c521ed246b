"""What one forward pass of a promptable network's training gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.box import Box, mask_box
from refersat.models.eye import Sight
from refersat.training.batch import AnyBatch, View

JITTER = 0.1
"""Corners of boxes are moved by at most this share of the box's sides: found boxes are never exact."""


@dataclass(frozen=True)
class PromptBatch(AnyBatch):
    """B targets in N views, B/N in a row in each.

    `boxes` (B, 4) float32 and `points` (B, 2), from 0 to 1 of the view's sides; `target` (B, T, T) float 0 or 1.
    `sight` is what an eye saw of the views, or None: then `pixels`, N arrays (H, W, 3) uint8, are to be looked at.
    """

    boxes: Tensor
    points: Tensor
    target: Tensor
    present: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    sight: Sight | None = None
    pixels: tuple[NDArray[np.uint8], ...] = ()
    named: None = None
    labels: None = None
    label_weights: None = None
    views: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()

    @classmethod
    def of(cls, boxes: Sequence[Box], points: Sequence[tuple[float, ...]], target: Tensor, **rest: Any) -> PromptBatch:
        """Prompts and targets; `rest` are the other fields."""
        count = len(boxes)
        return cls(
            boxes=torch.tensor(list(boxes), dtype=torch.float32).reshape(count, 4),
            points=torch.tensor(list(points), dtype=torch.float32).reshape(count, 2),
            target=target,
            present=torch.ones(count),
            input_ids=torch.zeros(count, 0, dtype=torch.long),
            attention_mask=torch.zeros(count, 0, dtype=torch.bool),
            **rest,
        )

    def to(self, device: torch.device) -> PromptBatch:
        """The same batch on a device."""
        moved = super().to(device)
        sight = self.sight
        return moved if sight is None else replace(moved, sight=sight.to(device))


def collate(views: Sequence[View], tokenizer: object, config: object) -> PromptBatch:
    """Views as they are, each with the target of its first phrase that names something: its box, and its middle.

    Views without one get a target that is nowhere in a box of nothing, which no loss counts.
    """
    boxes, points, targets = [], [], []
    for view in views:
        mask = next((target for target in view.targets if target.any()), None)
        present = mask is not None
        mask = view.targets[0] if mask is None else mask
        side = mask.shape[1]
        x0, y0, x1, y1 = mask_box(mask) if present else (0.0, 0.0, 1.0, 1.0)
        boxes.append((x0 / side, y0 / side, x1 / side, y1 / side))
        points.append(tuple(each / side for each in middle(mask)) if present else (0.0, 0.0))
        targets.append(torch.from_numpy(mask).float())
    return PromptBatch.of(
        boxes,
        points,
        torch.stack(targets),
        pixels=tuple(view.pixels for view in views),
        views=tuple(view.name for view in views),
        phrases=tuple(view.phrases[0] for view in views),
    )


def middle(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """X and y of the pixel of a mask (h, w) that is farthest from its edge, in pixels."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(column) - 0.5, float(row) - 0.5


def jittered(box: Box, rng: np.random.Generator) -> Box:
    """The box with its edges moved by up to `JITTER` of its sides, as most."""
    x0, y0, x1, y1 = box
    amount = rng.uniform(0, JITTER)
    moves = rng.uniform(-amount, amount, size=4) * np.array([x1 - x0, y1 - y0] * 2)
    a, b, c, d = (float(np.clip(each, 0, 1)) for each in np.array(box) + moves)
    return a, b, c, d
