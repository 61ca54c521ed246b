"""A segmenter that is never wrong about what it sees: for telling what a strategy alone is worth.

It is shown a raster of labels in place of a photograph: red is the number of the category (0 is background), green and
blue are that of the object. It finds all objects in each image that it is given, and takes every phrase as one about
that image alone, as models do: of "the largest ship" it marks the largest in every tile that shows a ship.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from refersat.box import Box
from refersat.imagery import Image
from refersat.text.parse import Reading, parse
from refersat.text.resolve import resolve
from refersat.text.scene import DEFAULT_RULES, Scene, SceneObject

_View: TypeAlias = tuple[NDArray[np.uint32], list[int], list[SceneObject]]
"""The numbers (h, w) in an image, those of its objects, and the objects."""

_LEAST_PIXELS = 4  # of an object, for it to be seen


@dataclass(frozen=True, eq=False)
class Seen:
    """As `refersat.segmenter.Probability`, which comes with PyTorch."""

    values: NDArray[np.float32]
    present: bool
    score: float
    boxes: tuple[Box, ...] = ()


class Oracle:
    """Stands in for a `refersat.Segmenter`.

    Args:
        categories: names, the one numbered 1 first.
    """

    name = "oracle"
    threshold = 0.5

    def __init__(self, categories: Sequence[str]) -> None:
        self.categories = tuple(categories)
        self.asked = 0
        self._last: tuple[NDArray[np.uint8], _View] | None = None

    def probabilities(self, questions: Iterable[tuple[Image, str]], *, batch_size: int | None = None) -> Iterator[Seen]:
        """Exact answers, 1.0 on the object; a phrase that it does not understand names nothing."""
        for image, phrase in questions:
            self.asked += 1
            mask = self.mask(image.rgb, phrase)
            if image.valid is not None:
                mask &= image.valid
            yield Seen(mask.astype(np.float32), bool(mask.any()), float(mask.any()))

    def mask(self, labels: NDArray[np.uint8], phrase: str) -> NDArray[np.bool_]:
        """What a phrase names in an image of labels (h, w, 3)."""
        reading = parse(phrase)
        if reading is None:
            return np.zeros(labels.shape[:2], bool)
        numbers, known, objects = self._seen(labels)
        scene = Scene(objects, numbers.shape[1], numbers.shape[0], DEFAULT_RULES)

        def members(one: Reading) -> list[int]:
            return scene.by_category.get(one.meaning.category, [])

        chosen = resolve(reading, scene, members)
        return np.isin(numbers, np.array([known[index] for index in chosen], np.uint32))

    def _seen(self, labels: NDArray[np.uint8]) -> _View:
        """Found once for all phrases about an image."""
        if self._last is None or self._last[0] is not labels:
            red, green, blue = (labels[..., band].astype(np.uint32) for band in range(3))
            numbers = red << 16 | green << 8 | blue
            self._last = (labels, (numbers, *self._objects(numbers)))
        return self._last[1]

    def _objects(self, numbers: NDArray[np.uint32]) -> tuple[list[int], list[SceneObject]]:
        """The numbers of all objects in an image, and their geometry; what is cut by its border is seen in part."""
        rows, columns = np.nonzero(numbers)
        found, which, counts = np.unique(numbers[rows, columns], return_inverse=True, return_counts=True)
        known, objects = [], []
        if not found.size:
            return known, objects
        order, starts = np.argsort(which, kind="stable"), np.cumsum(counts) - counts
        edges = [edge.reduceat(axis[order], starts) for edge in (np.minimum, np.maximum) for axis in (columns, rows)]
        x, y = (np.add.reduceat(axis[order], starts) / counts + 0.5 for axis in (columns, rows))
        for k, number in enumerate(found):
            category = int(number) >> 16
            if counts[k] >= _LEAST_PIXELS and 1 <= category <= len(self.categories):  # resampling mixes numbers
                left, top, right, bottom = (float(edge[k]) for edge in edges)
                box = (left, top, right + 1, bottom + 1)
                objects.append(
                    SceneObject(self.categories[category - 1], box, (float(x[k]), float(y[k])), float(counts[k]))
                )
                known.append(int(number))
        return known, objects
