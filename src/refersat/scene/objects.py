"""Objects in a mask that comes strip by strip: connected regions, whole across strips, with what is known of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
import shapely
from numpy.typing import NDArray

from refersat.vector import labelled_polygons

_COUNTED_ROWS = 64  # at a time: NumPy counts with 8 bytes a pixel


@dataclass(frozen=True, eq=False)
class Strip:
    """Full rows of a scene's extent.

    Attributes:
        row: the first, in the scene.
        mask: (h, w).
        probability: (h, w), 0 to 255.
    """

    row: int
    mask: NDArray[np.bool_]
    probability: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class SceneObject:
    """A region of foreground pixels that are connected by their edges.

    Attributes:
        outline: along pixel edges, in pixels of the scene.
        pixels: how many.
        score: their mean probability, 0 to 1.
        labels: the numbers that `label_strip` gives its parts, strip after strip.
    """

    outline: shapely.Polygon
    pixels: int
    score: float
    labels: tuple[int, ...]


@dataclass(eq=False)
class _Growing:
    """An object of which more may come."""

    outlines: list[shapely.Polygon] = field(default_factory=list)
    pixels: int = 0
    total: float = 0.0
    labels: list[int] = field(default_factory=list)
    became: _Growing | None = None

    def root(self) -> _Growing:
        """The object that it is now a part of."""
        found = self
        while found.became is not None:
            found = found.became
        return found

    def take(self, other: _Growing) -> None:
        """Swallow another one."""
        self.outlines += other.outlines
        self.pixels += other.pixels
        self.total += other.total
        self.labels += other.labels
        other.became = self

    def finished(self) -> SceneObject:
        """It, whole."""
        outline = self.outlines[0] if len(self.outlines) == 1 else shapely.union_all(self.outlines)
        assert isinstance(outline, shapely.Polygon)
        return SceneObject(outline, self.pixels, self.total / (255 * self.pixels), tuple(sorted(self.labels)))


def label_strip(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int32], int]:
    """Regions of a strip (h, w), numbered from 1, and how many there are."""
    count, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    return np.asarray(labels, dtype=np.int32), count - 1


def trace_objects(strips: Iterable[Strip], *, column: int = 0) -> Iterator[SceneObject]:
    """The objects of a mask, each as soon as nothing more can come of it.

    Only one strip and the objects that reach its lower edge are in memory.

    Args:
        strips: from top to bottom without a gap, all of one width.
        column: of the scene, where they begin.
    """
    open_objects: dict[int, _Growing] = {}  # by their label in the strip before
    edge: NDArray[np.int32] | None = None  # the labels of its last row
    before = 0  # labels given until now
    for strip in strips:
        labels, count = label_strip(strip.mask)
        found = _measured(labels, strip, count, before, column)
        if edge is not None:
            for upper, lower in _touching(edge, labels[0]):
                above, below = open_objects[upper].root(), found[lower].root()
                if above is not below:
                    above.take(below)
        edge = labels[-1].copy()
        alive = {int(label): found[int(label)].root() for label in np.unique(edge) if label}
        yield from _ended([*open_objects.values(), *found.values()], alive.values())
        open_objects = alive
        before += count
    yield from _ended(list(open_objects.values()), ())


def _measured(labels: NDArray[np.int32], strip: Strip, count: int, before: int, column: int) -> dict[int, _Growing]:
    if not count:
        return {}
    pixels, totals = np.zeros(count + 1, np.int64), np.zeros(count + 1)
    for first in range(0, len(labels), _COUNTED_ROWS):
        part = labels[first : first + _COUNTED_ROWS].ravel()
        weights = strip.probability[first : first + _COUNTED_ROWS].ravel()
        pixels += np.bincount(part, minlength=count + 1)
        totals += np.bincount(part, weights=weights, minlength=count + 1)
    corner = np.array([column, strip.row])
    found: dict[int, _Growing] = {}
    for label, polygon in labelled_polygons(labels):
        outline = shapely.transform(polygon, lambda points: points + corner)
        if label in found:
            found[label].outlines.append(outline)
        else:
            found[label] = _Growing([outline], int(pixels[label]), float(totals[label]), [before + label])
    return found


def _touching(upper: NDArray[np.int32], lower: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Pairs of labels that meet at an edge between two rows."""
    both = (upper > 0) & (lower > 0)
    pairs = np.unique(np.stack([upper[both], lower[both]]), axis=1)
    return [(int(above), int(below)) for above, below in pairs.T]


def _ended(objects: Iterable[_Growing], alive: Iterable[_Growing]) -> Iterator[SceneObject]:
    known = {id(one) for one in alive}
    for one in objects:
        root = one.root()
        if id(root) not in known:
            known.add(id(root))
            yield root.finished()
