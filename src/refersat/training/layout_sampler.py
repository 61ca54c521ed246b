"""Batches of phrases about layouts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.models.selection import INSTANCES
from refersat.models.sightings import Objects
from refersat.text.expressions import Expression
from refersat.text.phrases import Tokenizer
from refersat.training.batch import AnyBatch
from refersat.training.generated import PhraseSampler
from refersat.training.layouts import FOUND, Layout
from refersat.training.schedule import Schedule
from refersat.training.varied_layouts import looks_of, varied

ALIKE = 6
"""The views of a step are of a sixth of all layouts, with similarly many objects: the slots of fewer are not wasted."""


@dataclass(frozen=True)
class LayoutBatch(AnyBatch):
    """B phrases about the objects found in N views, B/N in a row about each.

    `objects` of the views, `meant` (B, K) float 0 or 1: which of them; the rest as in `Batch`.
    """

    objects: Objects
    input_ids: Tensor
    attention_mask: Tensor
    meant: Tensor
    present: Tensor
    views: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    named: None = None
    labels: None = None
    label_weights: None = None

    def to(self, device: torch.device) -> LayoutBatch:
        """The same batch on a device."""
        return replace(super().to(device), objects=moved_objects(self.objects, device))


def moved_objects(objects: Objects, device: torch.device) -> Objects:
    """The same objects on a device."""
    return Objects(*(getattr(objects, name).to(device) for name in vars(objects)))


TYPICAL_LENGTH = 16
"""Tokens of a phrase."""


def empty_layouts(width: int, views: int, phrases_per_view: int) -> LayoutBatch:
    """A batch without values (PyTorch's meta device) of objects with features of this width."""
    phrases = views * phrases_per_view
    with torch.device("meta"):
        return LayoutBatch(
            objects=Objects(
                features=torch.empty(views, INSTANCES, width),
                boxes=torch.empty(views, INSTANCES, 4),
                scores=torch.empty(views, INSTANCES),
            ),
            input_ids=torch.empty(phrases, TYPICAL_LENGTH, dtype=torch.long),
            attention_mask=torch.empty(phrases, TYPICAL_LENGTH, dtype=torch.bool),
            meant=torch.empty(phrases, INSTANCES),
            present=torch.empty(phrases),
        )


class LayoutSampler:
    """Makes batches of phrases about layouts. As of a `PhraseSampler`, they depend on the seed and the step alone."""

    def __init__(self, layouts: Sequence[Layout], sampler: PhraseSampler, tokenizer: Tokenizer, *, seed: int) -> None:
        self._layouts = sorted(layouts, key=lambda layout: layout.count)
        self._looks = looks_of(layouts)
        self._sampler = sampler
        self._tokenizer = tokenizer
        self._seed = seed

    def batches(self, step: int, schedule: Schedule, parts: Sequence[range]) -> list[AnyBatch]:
        """Parts of the batch of a step (from 0), by the numbers of their views."""
        stage = schedule.stage_at(step)
        rng = np.random.default_rng((self._seed, step, 4))
        drawn = list(self._draw(rng, stage.batch_size, stage.phrases_per_view))
        return [self._collate(drawn[part.start : part.stop]) for part in parts]

    def _draw(self, rng: np.random.Generator, views: int, phrases: int) -> Iterator[tuple[Layout, list[Expression]]]:
        window = max(1, len(self._layouts) // ALIKE)
        first = int(rng.integers(-window // 2, len(self._layouts) - window // 2))
        first = min(max(0, first), len(self._layouts) - window)  # the ends are as likely as the middle
        while views:
            layout = varied(self._layouts[first + int(rng.integers(window))], self._looks, rng)
            found = self._sampler.expressions(layout.scene, layout.context, rng, phrases)
            if found:  # all layouts were chosen because something can be said of them, and of most variations it can
                yield layout, found
                views -= 1

    def _collate(self, drawn: Sequence[tuple[Layout, list[Expression]]]) -> LayoutBatch:
        most = max(layout.count for layout, _ in drawn)
        told = [(layout, expression) for layout, expressions in drawn for expression in expressions]
        phrases = tuple(expression.phrase for _, expression in told)
        input_ids, attention_mask = self._tokenizer(phrases)
        return LayoutBatch(
            objects=objects_of([layout for layout, _ in drawn]),
            input_ids=input_ids,
            attention_mask=attention_mask,
            meant=_padded([layout.meant(expression.targets) for layout, expression in told], most),
            present=torch.tensor([float(bool(expression.targets)) for _, expression in told]),
            views=tuple(layout.scene.file_name for layout, _ in drawn),
            phrases=phrases,
        )


def objects_of(layouts: Sequence[Layout]) -> Objects:
    """What was found in N views, as one batch."""
    most = max(layout.count for layout in layouts)
    return Objects(*(_padded([getattr(layout, name) for layout in layouts], most) for name in FOUND))


def _padded(arrays: Sequence[NDArray[np.generic]], most: int) -> Tensor:
    """Arrays (K, ...) of different K in one float tensor (N, most, ...), 0 where they end."""
    stacked = torch.zeros(len(arrays), most, *arrays[0].shape[1:])
    for row, values in zip(stacked, arrays, strict=True):
        row[: len(values)] = torch.from_numpy(values)
    return stacked
