"""Batches of phrases about views that a grounder's eye has seen, with the objects that it found there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from refersat.models.grounding.boxes import overlaps, to_centres
from refersat.models.selection import InstanceSelector
from refersat.text.expressions import Expression
from refersat.text.phrases import Tokenizer
from refersat.training.batch import AnyBatch
from refersat.training.generated import PhraseSampler
from refersat.training.grounding.batch import GroundingBatch, targets_of
from refersat.training.layout_sampler import objects_of
from refersat.training.layouts import Layout, layout_of
from refersat.training.schedule import Schedule
from refersat.training.seen import SeenViews, boxes_of

SAME = 0.3
"""An object that was found is the outlined one that its box overlaps by so much (IoU) at least."""


def layouts_of(seen: SeenViews, selector: InstanceSelector) -> list[Layout]:
    """What a selector finds in each of the views."""
    device = selector.meant.weight.device
    return [
        layout_of(selector, [seen.sight([number]).to(device).survey], view.scene, view.context)
        for number, view in enumerate(seen.views)
    ]


def own_boxes(layout: Layout) -> torch.Tensor:
    """For each of the K objects found the box (K, 4) of the outlined object that it is, centre and size; 0 for none."""
    found = torch.from_numpy(layout.boxes)
    outlined = torch.tensor(boxes_of(layout.scene, range(len(layout.scene.objects))))
    iou, owner = overlaps(found[:, None], outlined[None])[0].max(1)
    return to_centres(outlined)[owner] * ((iou >= SAME) & torch.from_numpy(layout.scores > 0))[:, None]


class SeenPhraseSampler:
    """Makes batches of phrases about views. They depend on the seed and the step alone.

    Args:
        seen: the views.
        layouts: what was found in each.
        sampler: that the views are of; knows what can be said.
        tokenizer: of the phrases.
    """

    def __init__(
        self, seen: SeenViews, layouts: Sequence[Layout], sampler: PhraseSampler, tokenizer: Tokenizer
    ) -> None:
        self._seen = seen
        self._layouts = layouts
        self._own_boxes = [own_boxes(layout) for layout in layouts]
        self._sampler = sampler
        self._tokenizer = tokenizer

    def batches(self, step: int, schedule: Schedule, parts: Sequence[range]) -> list[AnyBatch]:
        """Parts of the batch of a step (from 0), by the numbers of their views."""
        stage = schedule.stage_at(step)
        rng = np.random.default_rng((self._sampler.seed, step, 6))
        drawn = list(self._draw(rng, stage.batch_size, stage.phrases_per_view))
        return [self._collate(drawn[part.start : part.stop]) for part in parts]

    def _draw(self, rng: np.random.Generator, views: int, phrases: int) -> Iterator[tuple[int, list[Expression]]]:
        while views:
            number = int(rng.integers(len(self._layouts)))
            layout = self._layouts[number]
            found = self._sampler.expressions(layout.scene, layout.context, rng, phrases)
            if found:  # of every view something can be said, if not by every draw
                yield number, found
                views -= 1

    def _collate(self, drawn: Sequence[tuple[int, list[Expression]]]) -> GroundingBatch:
        numbers = [number for number, _ in drawn]
        told = [(self._layouts[number].scene, each) for number, expressions in drawn for each in expressions]
        phrases = tuple(expression.phrase for _, expression in told)
        input_ids, attention_mask = self._tokenizer(phrases)
        boxes, there = targets_of([boxes_of(scene, expression.targets) for scene, expression in told])
        return GroundingBatch(
            pixel_values=torch.empty(0),
            valid=torch.ones(len(numbers), 2),
            input_ids=input_ids,
            attention_mask=attention_mask,
            boxes=boxes,
            there=there,
            present=there.any(1).float(),
            maps=self._seen.sight(numbers).maps,
            objects=objects_of([self._layouts[number] for number in numbers]),
            own_boxes=pad_sequence([self._own_boxes[number] for number in numbers], batch_first=True),
            named=torch.tensor([self._sampler.categories.index(expression.category) for _, expression in told]),
            views=tuple(self._layouts[number].scene.file_name for number in numbers),
            phrases=phrases,
        )
