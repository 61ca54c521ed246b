"""The places, directions, extremes and sizes that are said of a thing.

All rules look at the words of a phrase from a position on, and tell where what they found ends, or None.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from refersat.text.meaning import SIDES, Direction, Extreme, Place, Side, Size
from refersat.text.meanings import MIDDLE_OF_SIDE
from refersat.text.spoken import ARTICLES, MARKERS, PLACE_WORDS, Words, is_noun, said, sense, starts, vocabulary

_BEFORE_A_PLACE = vocabulary("up down over off somewhere directly just slightly immediately clearly only")
_SMALL = frozenset({"in", "on", "at", "to", "of"})
_NAMING = frozenset({*SIDES, "center", "part", "side", "border", "image"})
_WHOLE = vocabulary("image whole entire aerial satellite")
_PLACE_PREPOSITIONS = vocabulary("in on at to towards within inside near around along by beside touching toward across")
_CORNERS: dict[tuple[str, str], Extreme] = {
    ("top", "left"): "upper left", ("top", "right"): "upper right",
    ("bottom", "left"): "lower left", ("bottom", "right"): "lower right",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Run:
    """Words of place side by side, "the far upper left of the image": their senses, and where they end."""

    senses: frozenset[str]
    end: int

    @property
    def sides(self) -> tuple[str, ...]:
        """What sides are named, the vertical one first."""
        return tuple(side for side in ("top", "bottom", "left", "right") if side in self.senses)

    @property
    def extreme(self) -> Extreme | None:
        """The side, corner or middle that the run names, as the end of an order."""
        if "center" in self.senses and len(self.sides) < 2:
            return None if self.sides else "center"
        if len(self.sides) == 2:
            return _CORNERS.get((self.sides[0], self.sides[1]))
        return cast(Side, self.sides[0]) if len(self.sides) == 1 else None

    @property
    def place(self) -> Place | None:
        """The part of the image that the run names."""
        if len(self.sides) == 2 and self.extreme:
            row, column = 2 * (self.sides[0] == "bottom"), 2 * (self.sides[1] == "right")
            return Place("quadrant" if "quarter" in self.senses else "cell", row, column)
        if len(self.sides) == 1:
            side = cast(Side, self.sides[0])
            if "center" in self.senses:
                return MIDDLE_OF_SIDE[side]
            if "half" in self.senses:
                return Place("half", side=side)
            return Place("edge" if "border" in self.senses else "side", side=side)
        return Place("cell", 1, 1) if not self.sides and "center" in self.senses else None

    @property
    def is_far(self) -> bool:
        """Whether it is the end of an order rather than a part: "the far left", "the very top"."""
        return bool(self.senses & MARKERS) and self.extreme not in (None, "center")


def run_at(words: Words, k: int) -> Run | None:
    """The words of place from `k` on, an article before them allowed; none where they go on into a thing's name."""
    at = k + (sense(words, k) in ARTICLES)
    end, senses = at, set[str]()
    while True:
        step = at
        while sense(words, step) in PLACE_WORDS or (senses and sense(words, step) in _WHOLE):
            step += 1
        more = {sense(words, n) for n in range(at, step)}
        if not more & _NAMING or is_noun(words, step):
            break
        senses |= more
        end = step
        if sense(words, end) not in _SMALL:
            break
        at = end + 1 + (sense(words, end + 1) in ARTICLES)
    return Run(frozenset(senses), end) if senses else None


def adjectives_at(words: Words, k: int) -> Run | None:
    """Words of place before a noun, "the far left ship"."""
    end = k
    while sense(words, end) in PLACE_WORDS:
        end += 1
    run = Run(frozenset(sense(words, n) for n in range(k, end)), end)
    of_them = "most" in run.senses and sense(words, end) == "of"
    return run if (run.place or run.extreme) and (is_noun(words, end) or of_them) else None


def image_at(words: Words, k: int) -> int | None:
    """The end of "in the image" and the like, which says nothing."""
    if sense(words, k) not in ("in", "on", "within", "of", "from", "inside"):
        return None
    k += 1 + (sense(words, k + 1) in ARTICLES)
    while sense(words, k) in _WHOLE - {"image"}:
        k += 1
    return k + 1 if sense(words, k) == "image" and not is_noun(words, k + 1) else None


def place_at(words: Words, k: int) -> tuple[Run, int] | None:
    """A place in the image, "towards the bottom-right corner of it"; not one of a thing, "at the top of the hill"."""
    k = _skip(words, k, _BEFORE_A_PLACE)
    at = starts(words, k, "next to", "close to", "adjacent to", "halfway up", "halfway down", "halfway along")
    if at is None and sense(words, k) in _PLACE_PREPOSITIONS:
        at = k + 1
    if at is None and (said(words, k) == "centrally"):
        at = k
    run = run_at(words, at) if at is not None else None
    if run is None or sense(words, run.end) in ("of", "than"):
        return None
    if said(words, k) in ("halfway", "centrally"):
        run = Run(run.senses | {"center"}, run.end)
    return (run, run.end) if run.place else None


def direction_at(words: Words, k: int) -> tuple[Direction, int] | None:
    """A direction from another thing, "to the left of"; ends where that thing begins."""
    at = _skip(words, k, _BEFORE_A_PLACE)
    for vertical, senses in (("upper", ("above", "north")), ("lower", ("below", "south"))):
        if said(words, at) in senses and sense(words, at + 1) == "and":
            run = run_at(words, at + 2 + (sense(words, at + 2) in _SMALL))
            if run and len(run.sides) == 1 and sense(words, run.end) == "of":
                return cast(Direction, f"{vertical} {run.sides[0]}"), run.end + 1
    for start in (k, at):
        for direction, wordings in _DIRECTIONS:
            end = starts(words, start, *wordings)
            if end is not None:
                return direction, end
    run = run_at(words, at + (sense(words, at) in ("to", "on", "at", "in", "towards")))
    if (
        run is None
        or sense(words, run.end) != "of"
        or image_at(words, run.end)
        or run.senses & {"half", "part", "border", "most"}
    ):
        return None
    on_it = k - (said(words, k) == "top")  # "on top of": not above in the image
    if said(words, on_it) == "on" and said(words, on_it + 1) == "top":
        return None
    extreme = run.extreme
    if extreme is None or extreme == "center":
        return None
    return cast(Direction, {"top": "above", "bottom": "below"}.get(extreme, extreme)), run.end + 1


_DIRECTIONS: tuple[tuple[Direction, tuple[str, ...]], ...] = (
    ("above", ("above", "higher up than", "higher than", "further up than")),
    ("below", ("below", "beneath", "underneath", "under", "bottom down than", "bottom than", "further down than")),
    ("nearest", ("at the smallest distance from", "at the shortest distance from", "closest to", "closest",
                 "just next to", "just beside")),
    ("near", ("near to", "near", "next to", "close to", "adjacent to", "beside", "by", "alongside",
              "in the vicinity of", "not far from")),
)  # fmt: skip


def extreme_at(words: Words, k: int) -> tuple[Extreme, int] | None:
    """The end of an order, said behind the thing: "closest to the left edge", "on the far left", "furthest down"."""
    than = _than_others(words, k)
    if than:
        return than
    if sense(words, k) == "closest":
        run = run_at(words, k + 1 + (sense(words, k + 1) == "to"))
        return _ordered(words, run)
    if sense(words, k) == "furthest":
        if said(words, k + 1) in ("up", "down"):
            return ("top" if said(words, k + 1) == "up" else "bottom"), k + 2
        return _ordered(words, run_at(words, k + 1 + (sense(words, k + 1) in ("to", "towards"))))
    if starts(words, k, "most in", "most to", "most towards"):
        return _ordered(words, run_at(words, k + 2))
    found = place_at(words, k)
    if found and (found[0].is_far or {"center", "most"} <= found[0].senses):
        return _ordered(words, found[0])
    return None


def _ordered(words: Words, run: Run | None) -> tuple[Extreme, int] | None:
    if run is None or run.extreme is None or sense(words, run.end) in ("of", "than"):
        return None
    return run.extreme, run.end


def _than_others(words: Words, k: int) -> tuple[Extreme, int] | None:
    """Said like "further left than all others", "higher up than the rest"."""
    if sense(words, k) not in ("further", "higher", "bottom", "more"):
        return None
    end = k
    while sense(words, end) not in ("than", ""):
        end += 1
    names = {said(words, n) for n in range(k, end)} | {sense(words, n) for n in range(k, end)}
    rest = end + 1
    while said(words, rest) in ("all", "any", "the", "every", "of"):
        rest += 1
    if end - k > 5 or sense(words, end) != "than" or said(words, rest) not in ("other", "others", "rest"):
        return None
    for extreme, signs in (("left", {"left"}), ("right", {"right"}), ("top", {"up", "higher", "top"})):
        if names & signs:
            return cast(Extreme, extreme), rest + 1
    return ("bottom", rest + 1) if names & {"down", "bottom"} else None


_SIZES: dict[str, Size] = {"largest": "largest", "larger": "largest", "smallest": "smallest", "smaller": "smallest"}


def size_behind_at(words: Words, k: int) -> tuple[Size, int] | None:
    """The largest or smallest, said behind the thing: "with the largest area", "larger than the others"."""
    at = starts(words, k, "with the", "of the", "with", "of", "the", "covering the") or k
    by_sense: dict[str, Size] = {
        "largest": "largest",
        "smallest": "smallest",
        "larger": "largest",
        "smaller": "smallest",
    }
    size = by_sense.get(sense(words, at)) or ("largest" if starts(words, at, "most ground", "most area") else None)
    if size is None:
        return None
    end = at + 1
    than = starts(words, end, "than all the", "than all", "than any", "than the", "than")
    if than:
        end = starts(words, than, "others", "rest", "other") or 0
    elif sense(words, at) in ("larger", "smaller") and not starts(words, end, "of the two"):
        return None
    elif starts(words, end, "area", "size", "ground", "extent", "footprint"):
        end += 1
    elif is_noun(words, end):
        return None
    return (size, starts(words, end, "of all", "of them all") or end) if end else None


def _skip(words: Words, k: int, these: frozenset[str]) -> int:
    while sense(words, k) in these:
        k += 1
    return k
