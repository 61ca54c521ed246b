"""Geometry of a scene's objects, as the expression rules see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from refersat.text.meaning import SIDES, Place

# All places, by kind; objects carry sets of them as the bits of an integer, bit k for PLACES[k].
PLACES: tuple[Place, ...] = (
    *(Place("cell", row, column) for row in range(3) for column in range(3)),
    *(Place("side", side=side) for side in SIDES),
    *(Place("half", side=side) for side in SIDES),
    *(Place("quadrant", row, column) for row in (0, 2) for column in (0, 2)),
    *(Place("edge", side=side) for side in SIDES),
)
PLACE_BIT: dict[Place, int] = {place: 1 << k for k, place in enumerate(PLACES)}
_CELL, _SIDE, _HALF, _QUADRANT, _EDGE = 0, 9, 13, 17, 21


@dataclass(frozen=True, slots=True)
class SceneObject:
    """One object of an image: geometry in pixels, ``box`` is x0, y0, x1, y1; ``colour`` a plain word or None."""

    category: str
    box: tuple[float, float, float, float]
    centroid: tuple[float, float]
    area: float
    colour: str | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """When a phrase is clear enough to be said (after Aerial-D and RRSIS-D).

    Fractions are of the image's side. ``border`` is the whole width of the borderline band on each line of the grid:
    an object in the band keeps the names of the cells on both sides when a name is tested for uniqueness.
    """

    border: float = 0.10
    separation: float = 0.05
    size_ratio: float = 1.5
    reach_px: float = 150.0
    """Relations hold between objects nearer than this plus half their mean size."""
    sector: float = 45.0
    sector_overlap: float = 15.0
    edge: float = 0.04
    edge_clear: float = 0.15
    largest_count: int = 6
    """Up to this many objects are counted in words ("the four ships")."""
    largest_rank: int = 4


DEFAULT_RULES = Rules()


class Scene:
    """The objects of one image with the places they may be named by.

    ``strict[i]`` has the bits of the places that object ``i`` lies in by its centroid, ``loose[i]`` those that someone
    may say it lies in: objects in the borderline band of a line lie on both sides of it.
    """

    def __init__(self, objects: Sequence[SceneObject], width: float, height: float, rules: Rules) -> None:
        if width <= 0 or height <= 0:
            raise ValueError(f"the image's width and height must be positive, not {width} x {height}")
        self.objects = objects
        self.width = float(width)
        self.height = float(height)
        self.rules = rules
        self.strict: list[int] = []
        self.loose: list[int] = []
        self.by_category: dict[str, list[int]] = {}
        for index, item in enumerate(objects):
            self.by_category.setdefault(item.category, []).append(index)
            x, y = float(item.centroid[0]) / width, float(item.centroid[1]) / height
            gaps = (item.box[0] / width, 1 - item.box[2] / width, item.box[1] / height, 1 - item.box[3] / height)
            strict = _places(_thirds(x, 0), _thirds(y, 0), _halves(x, 0), _halves(y, 0), gaps, rules.edge)
            # What spans the image touches many edges, but is said to lie at those of its own third only.
            self.strict.append(strict & (~(0xF << _EDGE) | (strict >> _SIDE & 0xF) << _EDGE))
            band = rules.border / 2
            self.loose.append(
                _places(_thirds(x, band), _thirds(y, band), _halves(x, band), _halves(y, band), gaps, rules.edge_clear)
            )

    def cell(self, index: int) -> Place | None:
        """The object's cell, or None when it lies in a borderline band."""
        bits = self.loose[index] & 0x1FF
        return PLACES[bits.bit_length() - 1] if bits & (bits - 1) == 0 else None

    def clear_of(self, index: int, place: Place) -> bool:
        """Whether no part of the object's box touches the place or the borderline band around it."""
        band = self.rules.border / 2
        left, top, right, bottom = extent_of_place(place, self.rules)
        x0, y0, x1, y1 = self.objects[index].box
        return (
            x0 / self.width > right + band
            or x1 / self.width < left - band
            or y0 / self.height > bottom + band
            or y1 / self.height < top - band
        )


def _thirds(p: float, band: float) -> int:
    """Bits of the thirds of a side that position ``p`` (0..1) lies in."""
    return (p < 1 / 3 + band) | ((1 / 3 - band <= p) & (p < 2 / 3 + band)) << 1 | (p >= 2 / 3 - band) << 2


def _halves(p: float, band: float) -> int:
    return (p < 0.5 + band) | (p >= 0.5 - band) << 1


def _places(columns: int, rows: int, across: int, down: int, gaps: tuple[float, ...], edge: float) -> int:
    """Bits of PLACES, from the thirds and halves on both axes and the gaps between box and edges."""
    bits = _SPREAD[rows] * columns
    bits |= ((columns & 1) | (columns >> 2) << 1 | (rows & 1) << 2 | (rows >> 2) << 3) << _SIDE
    bits |= (across | down << 2) << _HALF
    bits |= ((down & 1) * across | (down >> 1) * across << 2) << _QUADRANT
    for k, gap in enumerate(gaps):
        if gap <= edge:
            bits |= 1 << (_EDGE + k)
    return bits


# Bits of rows 0..2 moved to the bits of the first cell of each row.
_SPREAD = tuple((rows & 1) | (rows & 2) << 2 | (rows & 4) << 4 for rows in range(8))


def extent_of_place(place: Place, rules: Rules) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a place as fractions of the image's sides."""
    if place.kind == "cell":
        return place.column / 3, place.row / 3, (place.column + 1) / 3, (place.row + 1) / 3
    if place.kind == "quadrant":
        return place.column / 4, place.row / 4, place.column / 4 + 0.5, place.row / 4 + 0.5
    depth = {"side": 1 / 3, "half": 0.5, "edge": rules.edge_clear}[place.kind]
    return {
        "left": (0.0, 0.0, depth, 1.0),
        "right": (1 - depth, 0.0, 1.0, 1.0),
        "top": (0.0, 0.0, 1.0, depth),
        "bottom": (0.0, 1 - depth, 1.0, 1.0),
    }[place.side]
