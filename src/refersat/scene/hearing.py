"""Which tiles' answers count: those that find the target, and what in others goes on from there.

A model says of each tile whether the target is there. Of a large object one tile may show the most and the next one
only an end, in which the model does not trust; left out, the object would be cut where that tile begins. So an answer
below the model's rule is *doubtful* rather than void: its regions count where they go on from a region of a tile that
found the target, as the weak edges of Canny's detector do where they touch strong ones. One step only: what was let in
lets in nothing further, so that no chain of doubts leads away from what was found.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refersat.scene.blend import Blender, quantised
from refersat.scene.objects import label_strip
from refersat.segmenter import Probability

LEAST_SCORE = 0.3
"""Score of presence from which on an answer is doubtful; below, it is void. See benchmarks/scene_gate.py."""

_COMMON_PIXELS = 16
"""That two tiles must both call foreground, for a region to go on: more than two objects that touch have."""


@dataclass(frozen=True, eq=False)
class Place:
    """A tile in a grid: row and column of its first pixel, and its weights (h,) and (w,) of `Axis.weights`."""

    row: int
    column: int
    weights: tuple[NDArray[np.uint32], NDArray[np.uint32]]


@dataclass(frozen=True, eq=False)
class _Doubtful:
    """An answer (h, w) below the model's rule of presence, about the phrase `layer`."""

    layer: int
    place: Place
    probability: NDArray[np.uint16]


class Hearing:
    """Some rows of a grid, from `top` on, to which tiles are added row by row.

    Args:
        layers: phrases.
        rows: how many rows it holds: all that two neighbouring rows of tiles see.
        width: of the grid.
        top: the first row it holds.
        level: threshold among probabilities from 0 to `FULL`.
        least_score: see `LEAST_SCORE`; 1 makes all void that is below the model's rule.
    """

    def __init__(
        self, layers: int, rows: int, width: int, *, top: int, level: int, least_score: float = LEAST_SCORE
    ) -> None:
        self.blender = Blender(layers, rows, width, top=top)
        self._found = np.zeros((layers, rows, width), np.bool_)  # where tiles that found the target see it
        self._level = level
        self._least_score = least_score
        self._waiting: list[_Doubtful] = []
        self._new: list[_Doubtful] = []

    def add(self, layer: int, answer: Probability, place: Place) -> None:
        """Add a tile's answer about a phrase."""
        if answer.present:
            probability = quantised(answer.values)
            self.blender.add(layer, probability, (place.row, place.column), place.weights)
            self._seen(layer, place, probability.shape)[:] |= probability > self._level
        elif answer.score >= self._least_score:
            probability = quantised(answer.values)
            if (probability > self._level).any():
                self._new.append(_Doubtful(layer, place, probability))

    def end_row(self, *, last: bool) -> None:
        """A row of tiles is complete: what was doubtful in the one above is decided, if it is the last in it, too."""
        for one in [*self._waiting, *(self._new if last else ())]:
            confirmed = self._confirmed(one)
            if confirmed is not None:
                self.blender.add(one.layer, confirmed, (one.place.row, one.place.column), one.place.weights)
        self._waiting, self._new = self._new, []

    def _confirmed(self, one: _Doubtful) -> NDArray[np.uint16] | None:
        """What counts of a doubtful answer (h, w): without regions that go on nothing; None when nothing counts."""
        labels, count = label_strip(one.probability > self._level)
        common = labels[self._seen(one.layer, one.place, labels.shape)]
        goes_on = np.bincount(common, minlength=count + 1) >= _COMMON_PIXELS
        goes_on[0] = True  # the slopes around the regions
        if not goes_on[1:].any():
            return None
        kept: NDArray[np.uint16] = one.probability * goes_on[labels]
        return kept

    def _seen(self, layer: int, place: Place, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        row = place.row - self.blender.top
        return self._found[layer, row : row + shape[0], place.column : place.column + shape[1]]

    def drop_before(self, row: int) -> None:
        """Forget the rows above; there is room for as many more below."""
        count = row - self.blender.top
        if count > 0:
            self.blender.drop_before(row)
            self._found[:, :-count] = self._found[:, count:]
            self._found[:, -count:] = False
