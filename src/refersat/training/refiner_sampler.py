"""Batches of masks to draw again: windows around their targets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.training.batch import AnyBatch
from refersat.training.drawn_views import CELL, DrawnMask, DrawnViews
from refersat.training.schedule import Schedule

WINDOW = 0.5
"""Side of the windows, as a share of the view's."""

OFF_CENTRE = 0.3
"""A pixel of the target is at most so far from the window's middle, as a share of the window's side."""


@dataclass(frozen=True)
class RefinerBatch(AnyBatch):
    """B windows of side C of as many views, with a mask in each.

    `pixels` (B, 3, C, C), `features` (B, W, C/4, C/4) of the survey, `drawn` (B, 1, C/4, C/4) logits for a plain
    sigmoid, `target` (B, 1, C, C) float 0 or 1; the rest as in `Batch`, without words.
    """

    pixels: Tensor
    features: Tensor
    drawn: Tensor
    target: Tensor
    present: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    views: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    named: None = None
    labels: None = None
    label_weights: None = None

    @classmethod
    def of(
        cls, pixels: Tensor, features: Tensor, drawn: Tensor, target: Tensor, masks: Sequence[DrawnMask] = ()
    ) -> RefinerBatch:
        """Windows of these masks."""
        count = len(pixels)
        return cls(
            pixels,
            features,
            drawn,
            target,
            present=target.new_ones(count),
            input_ids=torch.zeros(count, 0, dtype=torch.long, device=pixels.device),
            attention_mask=torch.zeros(count, 0, dtype=torch.bool, device=pixels.device),
            views=tuple(mask.name for mask in masks),
            phrases=tuple(mask.phrase for mask in masks),
        )


def empty_windows(feature_width: int, count: int, image_size: int) -> RefinerBatch:
    """A batch without values (PyTorch's meta device)."""
    cells = window_cells(image_size)
    with torch.device("meta"):
        return RefinerBatch.of(
            torch.empty(count, 3, CELL * cells, CELL * cells),
            torch.empty(count, feature_width, cells, cells),
            torch.empty(count, 1, cells, cells),
            torch.empty(count, 1, CELL * cells, CELL * cells),
        )


def window_cells(image_size: int) -> int:
    """Cells along the side of a window."""
    return round(WINDOW * image_size / CELL)


class RefinerSampler:
    """Makes batches of windows. As of a `PhraseSampler`, they depend on the seed and the step alone."""

    def __init__(self, views: DrawnViews, *, seed: int) -> None:
        self._views = views
        self._seed = seed

    def batches(self, step: int, schedule: Schedule, parts: Sequence[range]) -> list[AnyBatch]:
        """Parts of the batch of a step (from 0), by the numbers of their windows."""
        stage = schedule.stage_at(step)
        rng = np.random.default_rng((self._seed, step, 7))
        drawn = [self._draw(rng) for _ in range(stage.batch_size)]
        return [self._collate(drawn[part.start : part.stop]) for part in parts]

    def _draw(self, rng: np.random.Generator) -> tuple[DrawnMask, NDArray[np.bool_], slice, slice]:
        """A mask, its target, and the rows and columns (in cells) of a window that shows some of it."""
        views, cells = self._views, window_cells(self._views.side)
        mask = views.masks[int(rng.integers(len(views.masks)))]
        target = views.target(mask)
        shown = np.argwhere(target)
        middle = shown[int(rng.integers(len(shown)))] / CELL + rng.uniform(-OFF_CENTRE, OFF_CENTRE, size=2) * cells
        row, column = (middle - cells / 2).round().astype(int).clip(0, views.side // CELL - cells).tolist()
        return mask, target, slice(row, row + cells), slice(column, column + cells)

    def _collate(self, drawn: Sequence[tuple[DrawnMask, NDArray[np.bool_], slice, slice]]) -> RefinerBatch:
        windows = [self._views.window(mask, rows, columns) for mask, _, rows, columns in drawn]
        targets = [
            target[None, CELL * rows.start : CELL * rows.stop, CELL * columns.start : CELL * columns.stop]
            for _, target, rows, columns in drawn
        ]
        pixels, features, logits, target = (
            torch.from_numpy(np.stack(each).astype(np.float32)) for each in (*zip(*windows, strict=True), targets)
        )
        return RefinerBatch.of(pixels, features, logits, target, [mask for mask, *_ in drawn])
