"""Batches of prompts about views that an eye has seen: any of their objects, by a rough box and a point."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from refersat.data import shapes
from refersat.data.coco import CocoImage
from refersat.training.batch import AnyBatch
from refersat.training.prompted.batch import PromptBatch, jittered, middle
from refersat.training.schedule import Schedule
from refersat.training.seen import SeenViews, boxes_of

STRIDE = 2
"""Pixels of the view along a pixel of the targets: twice as fine as the masks that are drawn."""

CENTRED = 0.5
"""Share of points that lie in the middle of their object; the others lie anywhere in it."""


class PromptSampler:
    """Makes batches of prompts. They depend on the seed and the step alone."""

    def __init__(self, seen: SeenViews, *, seed: int) -> None:
        self._seen = seen
        self._seed = seed

    def batches(self, step: int, schedule: Schedule, parts: Sequence[range]) -> list[AnyBatch]:
        """Parts of the batch of a step (from 0), by the numbers of their views."""
        stage = schedule.stage_at(step)
        rng = np.random.default_rng((self._seed, step, 5))
        chosen = rng.integers(len(self._seen.views), size=stage.batch_size).tolist()
        seeds = rng.integers(2**32, size=stage.batch_size)
        side = stage.image_size // STRIDE
        return [
            self._batch([chosen[k] for k in part], [int(seeds[k]) for k in part], stage.phrases_per_view, side)
            for part in parts
        ]

    def _batch(self, numbers: Sequence[int], seeds: Sequence[int], prompts: int, side: int) -> PromptBatch:
        boxes, points, targets = [], [], []
        scenes = [self._seen.views[number].scene for number in numbers]
        for scene, seed in zip(scenes, seeds, strict=True):
            rng = np.random.default_rng(seed)
            for target in _some(len(scene.objects), prompts, rng):
                mask = _mask(scene, target, side)
                boxes.append(jittered(boxes_of(scene, [target])[0], rng))
                points.append(_point(mask, boxes[-1], rng))
                targets.append(torch.from_numpy(mask))
        return PromptBatch.of(
            boxes,
            points,
            torch.stack(targets).float(),
            sight=self._seen.sight(numbers),
            views=tuple(scene.file_name for scene in scenes),
        )


def _some(count: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """Numbers below `count`, as few twice as can be."""
    rounds = [rng.permutation(count) for _ in range(-(-wanted // count))]
    return [int(number) for number in np.concatenate(rounds)[:wanted]]


def _mask(scene: CocoImage, target: int, side: int) -> np.ndarray:
    scale = np.array([[side / scene.width, 0, 0], [0, side / scene.height, 0]])
    return shapes.rasterise([shapes.warp(scene.shapes[target], scale)], side, side)


def _point(mask: np.ndarray, box: tuple[float, ...], rng: np.random.Generator) -> tuple[float, float]:
    side = mask.shape[1]
    if not mask.any():  # an object thinner than the pixels
        return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    if rng.random() < CENTRED:
        x, y = middle(mask)
        return x / side, y / side
    rows, columns = np.nonzero(mask)
    chosen = int(rng.integers(len(rows)))
    return (float(columns[chosen]) + 0.5) / side, (float(rows[chosen]) + 0.5) / side
