"""The words: names of categories, of places, directions and degrees.

Every pool has two halves. The training half is what a model learns from; the held-out half is kept for validation,
so that it also measures how well a model takes wordings that it never saw.
"""

from __future__ import annotations

from dataclasses import dataclass

from refersat.text.meaning import Place


@dataclass(frozen=True, slots=True)
class Pool:
    """Wordings of one thing; a wording listed twice is twice as likely."""

    train: tuple[str, ...]
    heldout: tuple[str, ...] = ()


def pool(train: str, heldout: str = "") -> Pool:
    """A pool from comma-separated wordings; ``x*3`` stands for three times x."""

    def expand(text: str) -> tuple[str, ...]:
        words = []
        for part in filter(None, (p.strip() for p in text.split(","))):
            word, _, times = part.partition("*")
            words += [word] * int(times or 1)
        return tuple(words)

    return Pool(expand(train), expand(heldout))


SYNONYMS: dict[str, Pool] = {
    "airplane": pool("airplane*5, plane*4, aircraft*3, jet, aeroplane", "airliner, air plane"),
    "ship": pool("ship*6, boat*3, vessel*2", "watercraft, sea vessel"),
    "storage tank": pool(
        "storage tank*6, tank*2, oil tank*2, fuel tank, oil storage tank, silo, round tank",
        "petroleum tank, circular storage tank",
    ),
    "baseball diamond": pool(
        "baseball diamond*5, baseball field*5, baseball court, ball field, baseball pitch",
        "ballpark, ball diamond, softball field",
    ),
    "tennis court": pool("tennis court*8, court for tennis, tennis field", "tennis ground, tennis pitch"),
    "basketball court": pool(
        "basketball court*8, basketball field, court for basketball", "basketball ground, basketball pitch"
    ),
    "ground track field": pool(
        "ground track field*6, running track*3, athletic track*2, track field*2, athletics track, sports track, "
        "track and field ground, athletic field",
        "race track, track and field stadium, athletics ground",
    ),
    "harbor": pool("harbor*5, harbour*3, pier*3, dock*3, jetty", "wharf, boat dock, landing stage"),
    "bridge": pool("bridge*10, road bridge, river bridge", "overbridge, bridge structure"),
    "vehicle": pool("vehicle*5, car*4, small vehicle*2, automobile", "motor vehicle, road vehicle"),
}
UNCOUNTED = frozenset({"aircraft", "watercraft", "water", "vegetation", "grass", "farmland", "soil", "land", "tarmac"})

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ORDINALS = {2: pool("second*3, 2nd"), 3: pool("third*3, 3rd"), 4: pool("fourth*3, 4th")}
GROUP = pool(
    "all {n}*3, all the {n}*2, the {n}*3, {n}*2, every {s}*2, all of the {n}",
    "each {s}, each of the {n}, the group of {n}",
)

IMAGE = pool("image*6, picture*2, scene*2, photo, frame", "photograph, aerial image, view")
LOCATED = pool(
    "located*4, situated*2, positioned*2, that is*2, which is, lying, that is located, found, placed",
    "sitting, seen, that lies, which can be found, visible",
)
IS = pool(
    "is*5, is located*3, is situated, is positioned, lies, appears, can be seen",
    "sits, is visible, can be found, stands",
)
REQUEST = pool(
    "find*3, search*2, segment*3, show me*2, highlight, select, mark, locate, outline, get, detect, extract",
    "point out, where is, I am looking for, identify, draw the outline of, give me, pick out",
)

# Places. {c} is a corner's name, "upper left"; {s} a side's, "left".
ROW_NAMES = {0: pool("upper, top"), 2: pool("lower, bottom")}
COLUMN_NAMES = {0: "left", 2: "right"}
CORNER = pool(
    "on the {c}*5, in the {c}*4, at the {c}*2, in the {c} corner*3, at the {c} corner, in the {c} part, "
    "in the {c} area, on the {c} side, towards the {c}, towards the {c} corner, in the {c} section, "
    "in the {c} region, near the {c} corner",
    "to the {c}, within the {c} portion, inside the {c} sector, around the {c} corner, in the {c} zone",
)
QUADRANT = pool(
    "in the {c} quadrant*3, in the {c} quarter, inside the {c} quadrant",
    "within the {c} quadrant, within the {c} quarter",
)
SIDE_NAMES = {
    "left": pool("left*6, left-hand"),
    "right": pool("right*6, right-hand"),
    "top": pool("top*3, upper*2"),
    "bottom": pool("bottom*3, lower*2"),
}
SIDE_ALONE = {
    "left": pool(
        "on the left*6, at the left, to the left, towards the left, at left", "over to the left, off to the left"
    ),
    "right": pool(
        "on the right*6, at the right, to the right, towards the right, at right", "over to the right, off to the right"
    ),
    "top": pool(
        "at the top*4, on the top*4, towards the top, near the top",
        "up at the top, toward the top, in the upper reaches",
    ),
    "bottom": pool(
        "at the bottom*5, on the bottom*3, towards the bottom, near the bottom",
        "down at the bottom, toward the bottom, in the lower reaches",
    ),
}
SIDE_PART = pool(
    "on the {s} side*4, in the {s} part*3, at the {s} side, in the {s} area, in the {s} section, towards the {s} side, "
    "in the {s} third",
    "within the {s} portion, along the {s} side, in the {s} region",
)
HALF = pool("in the {s} half*3, on the {s} half, within the {s} half", "inside the {s} half, somewhere in the {s} half")
EDGE = pool(
    "near the {s} edge*2, at the {s} edge*2, close to the {s} edge, next to the {s} edge, along the {s} edge, "
    "at the {s} border",
    "touching the {s} edge, by the {s} margin, beside the {s} border",
)
MIDDLE = pool(
    "in the middle*6, in the center*3, in the centre*3, in the middle part*2, at the center*2, at the centre, "
    "in the central part, in the central area, in the center area, near the center",
    "in the very middle, in the central section, around the centre, right in the center",
)
MIDDLE_OF_SIDE = {
    "left": pool(
        "in the middle left*3, in the middle-left part, in the center left, on the center of the left, "
        "in the centre left, on the left in the middle, on the middle left, in the left center",
        "halfway up the left side, on the left at mid-height",
    ),
    "right": pool(
        "in the middle right*3, in the middle-right part, in the center right, on the center of the right, "
        "in the centre right, on the right in the middle, on the middle right, in the right center",
        "halfway up the right side, on the right at mid-height",
    ),
    "top": pool(
        "in the top center*2, at the top center*2, in the upper middle*2, on the center of the top, "
        "at the top in the middle, in the top middle, at the upper center, in the top centre, in the middle of the top",
        "centrally at the top, in the upper central part",
    ),
    "bottom": pool(
        "in the bottom center*2, at the bottom center*2, in the lower middle*2, on the center of the bottom, "
        "at the bottom in the middle, in the bottom middle, at the lower center, in the bottom centre, "
        "in the middle of the bottom",
        "centrally at the bottom, in the lower central part",
    ),
}
SIDE_OF_CELL = {(1, 0): "left", (1, 2): "right", (0, 1): "top", (2, 1): "bottom"}

# Extremes: adjectives before the noun, and phrases behind it.
EXTREME_ADJECTIVE = {
    "left": pool("leftmost*4, left-most*2, far left, furthest left", "most left, extreme left"),
    "right": pool("rightmost*4, right-most*2, far right, furthest right", "most right, extreme right"),
    "top": pool("topmost*4, top-most*2, uppermost*2, upper-most, highest", "very top, extreme top"),
    "bottom": pool("bottommost*3, bottom-most*2, lowest*2, lowermost, lower-most", "very bottom, extreme bottom"),
    "center": pool("most central*2, central-most, innermost", "centermost"),
}
EXTREME_BEHIND = {
    "left": pool(
        "closest to the left edge*2, nearest to the left side, farthest to the left, furthest to the left, "
        "located at the left-most position",
        "further left than all others, at the extreme left",
    ),
    "right": pool(
        "closest to the right edge*2, nearest to the right side, farthest to the right, furthest to the right, "
        "located at the right-most position",
        "further right than all others, at the extreme right",
    ),
    "top": pool(
        "closest to the top edge*2, nearest to the top, farthest to the top, furthest up, "
        "located at the top-most position, at the very top",
        "higher up than all others, at the extreme top",
    ),
    "bottom": pool(
        "closest to the bottom edge*2, nearest to the bottom, farthest to the bottom, furthest down, "
        "located at the bottom-most position, at the very bottom",
        "lower down than all others, at the extreme bottom",
    ),
    "center": pool(
        "closest to the center*3, closest to the centre*2, nearest to the center, nearest the middle, "
        "closest to the middle",
        "nearest to the midpoint, that is most in the middle",
    ),
}
FAR = pool("on the far {s}*4, at the far {s}, to the far {s}", "over on the far {s}")

SIZE_ADJECTIVE = {
    "largest": pool("largest*5, biggest*3", "very largest, greatest"),
    "smallest": pool("smallest*5, tiniest", "very smallest, littlest"),
}
SIZE_OF_TWO = {
    "largest": pool("larger*2, bigger*2, large*2, big", "greater"),
    "smallest": pool("smaller*3, small*2, tiny, little", "lesser"),
}
SIZE_BEHIND = {
    "largest": pool(
        "with the largest area, that is the largest, that is larger than the others",
        "covering the most ground, of the greatest size",
    ),
    "smallest": pool(
        "with the smallest area, that is the smallest, that is smaller than the others",
        "covering the least ground, of the least size",
    ),
}

DIRECTIONS = {
    "left": pool(
        "to the left of*4, on the left of*4, left of*2, on the left side of, at the left of",
        "directly left of, off to the left of",
    ),
    "right": pool(
        "to the right of*4, on the right of*4, right of*2, on the right side of, at the right of",
        "directly right of, off to the right of",
    ),
    "above": pool("above*6, on the top of, at the top of", "higher up than, further up than"),
    "below": pool("below*6, under, beneath, at the bottom of, on the bottom of", "underneath, further down than"),
    "near": pool(
        "near*3, next to*3, close to*2, beside, adjacent to, by", "in the vicinity of, alongside, not far from"
    ),
    "nearest": pool("nearest to*2, closest to*2, nearest, right next to", "at the least distance from, right beside"),
    "diagonal": pool("to the {c} of*2, on the {c} of*4, at the {c} of, {v} and to the {h} of", "off to the {c} of"),
}


def plural(noun: str) -> str:
    """Plural of a noun phrase whose head is its last word, or the word before "for" (court for tennis)."""
    head, for_, rest = noun.partition(" for ")
    start, blank, last = head.rpartition(" ")
    if last in UNCOUNTED:
        word = last
    elif last.endswith("y") and last[-2:-1] not in set("aeiou"):
        word = last[:-1] + "ies"
    elif last.endswith(("s", "x", "z", "ch", "sh")):
        word = last + "es"
    else:
        word = last + "s"
    return start + blank + word + for_ + rest


def article(noun: str) -> str:
    """The article, "a" or "an", by the first letter."""
    return "an" if noun[:1].lower() in set("aeiou") else "a"


def place_key(place: Place) -> str:
    """What a cell is called by: "left" for the middle cell of the left third and so on, "middle", or "corner"."""
    return "middle" if (place.row, place.column) == (1, 1) else SIDE_OF_CELL.get((place.row, place.column), "corner")
