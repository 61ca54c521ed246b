"""What a referring expression says, apart from the words it is said in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Kind = Literal[
    "unique", "group", "position", "extreme", "size", "relation", "colour", "absent-category", "absent-position"
]
Side = Literal["left", "right", "top", "bottom"]
Extreme = Literal[
    "left", "right", "top", "bottom", "center", "upper left", "upper right", "lower left", "lower right"
]  # the corners are understood, but never said by the generator
Size = Literal["largest", "smallest"]
Direction = Literal[
    "left", "right", "above", "below", "upper left", "upper right", "lower left", "lower right", "near", "nearest"
]

KINDS: tuple[Kind, ...] = get_args(Kind)
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True, slots=True)
class Place:
    """A part of the image.

    - ``cell``: one cell of the 3x3 grid, ``row`` and ``column`` in 0..2 from the upper left;
    - ``quadrant``: one quarter of the image, ``row`` and ``column`` are 0 or 2;
    - ``side``: "on the left" and so on, the outer third of the image, or the middle cell of that third;
    - ``half``: one half of the image;
    - ``edge``: touching the edge of the image, or nearly so.
    """

    kind: Literal["cell", "quadrant", "side", "half", "edge"]
    row: int = 1
    column: int = 1
    side: Side = "left"


@dataclass(frozen=True, slots=True)
class Relation:
    """Where the target lies as seen from an anchor object."""

    direction: Direction
    anchor: Meaning


@dataclass(frozen=True, slots=True)
class Meaning:
    """A category and what singles out its members; ``targets`` are indices of scene objects, none for absent kinds.

    ``total`` is how many objects of the category the scene has ("the larger of the two"); ``rank`` counts from 1
    ("the second largest", "the third from the left"); ``far`` says that an extreme object also lies in the
    outer third of the image ("on the far left").
    """

    kind: Kind
    category: str
    targets: tuple[int, ...] = ()
    plural: bool = False
    count: int = 1
    total: int = 1
    place: Place | None = None
    extreme: Extreme | None = None
    size: Size | None = None
    rank: int = 1
    far: bool = False
    relation: Relation | None = None
    colour: str | None = None
