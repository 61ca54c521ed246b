"""The words of an English phrase, reduced to what they stand for.

"Northern", "upper" and "top" are one, so that a handful of rules (`refersat.text.clues`) understands the many wordings
of `refersat.text.words`, and others made in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType

from refersat.text import words as wordings
from refersat.text.meaning import SIDES

_PAUSE = re.compile(r"[,;:.()]")
_TOKEN = re.compile(r"[^\W_]+(?:'s)?")


def vocabulary(words: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(words.split())


def _senses(table: str) -> dict[str, tuple[str, ...]]:
    """From lines of "sense sense: word word"."""
    rows = (line.partition(":") for line in table.strip().splitlines())
    return {word: tuple(senses.split()) for senses, _, words in rows for word in words.split()}


_SENSES = MappingProxyType(
    _senses("""
        left: left lefthand west western westerly
        right: right righthand east eastern easterly
        top: top upper north northern northerly
        bottom: bottom lower south southern southerly
        center: middle center centre central centrally mid midpoint
        top left: northwest northwestern topleft upperleft
        top right: northeast northeastern topright upperright
        bottom left: southwest southwestern bottomleft lowerleft
        bottom right: southeast southeastern bottomright lowerright
        left most: leftmost westernmost westmost
        right most: rightmost easternmost eastmost
        top most: topmost uppermost highest northernmost northmost
        bottom most: bottommost lowermost lowest southernmost southmost
        center most: innermost centermost centremost centralmost
        image: image picture scene photo photograph frame view
        furthest: furthest farthest
        further: further farther
        closest: closest nearest
        far: far extreme
        largest: largest biggest greatest
        smallest: smallest tiniest littlest least
        larger: larger bigger greater
        smaller: smaller lesser
        large: large big
        small: small tiny little
        border: edge border margin boundary
        part: part area section region portion sector zone position reaches third height hemisphere
        side: side corner hand end immediate
        quarter: quadrant quarter
        towards: towards toward
    """)
)
PREPOSITIONS = vocabulary(
    "in on at to towards within inside near around along by beside touching next close adjacent alongside "
    "above below under beneath underneath over across between behind with from of for than up down off through "
    "opposite"
)
CONNECTORS = vocabulary(
    "and it they that which who is are was were located situated positioned placed lying lies lie found "
    "sitting sits sit seen visible appears appear can be stands stand standing there"
)
ARTICLES = vocabulary("the a an this these those its another")
DETERMINERS = ARTICLES | vocabulary("all every each both some any several many")
NUMBERS = MappingProxyType({word: n for n, word in enumerate(wordings.NUMBERS)})
RANKS = MappingProxyType(
    {
        word: n
        for n, words in enumerate(("", "first 1st", "second 2nd", "third 3rd", "fourth 4th", "fifth 5th", "sixth 6th"))
        for word in words.split()
    }
)
_OTHER_FUNCTION_WORDS = vocabulary(
    "closest furthest further higher covering where please directly just or has have having"
)
MARKERS = frozenset({"far", "very", "most", "furthest"})
PLACE_WORDS = frozenset({*SIDES, "center", "part", "side", "border", "half", "quarter", *MARKERS})


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a phrase: as said (lower case), what it stands for, and from where to where it stands in the phrase.

    `after_pause` says that there is a comma or the like before it.
    """

    said: str
    sense: str
    start: int
    end: int
    after_pause: bool = False


Words = Sequence[Word]

# Names of things that only look like places.
_NAMES = re.compile(
    r"\b(?:center pivot|centre pivot|(?:central|center) (?:median|reservation|island)|right of way|top ?soil|"
    r"(?:left|right)(?:[- ]hand)?[- ](?:turn|lane|bank|angle)|(?:small|large) vehicle|high[- ]rise|low[- ]rise)s?\b",
    re.IGNORECASE,
)


def spoken(phrase: str) -> list[Word]:
    """The words of a phrase; one that means two things ("northwest", "leftmost") comes twice, at one position."""
    names = [match.span() for match in _NAMES.finditer(phrase)]
    found: list[Word] = []
    for match in _TOKEN.finditer(phrase):
        said = match.group().lower()
        named = any(start <= match.start() < end for start, end in names)
        senses = (f"{said} of a name",) if named else _SENSES.get(said, (said,))
        pause = bool(found) and bool(_PAUSE.search(phrase, found[-1].end, match.start()))
        found += [Word(said, sense, *match.span(), pause) for sense in senses]
    # "right next to", "right in the middle": no side.
    for k, word in enumerate(found[:-1]):
        before = found[k - 1] if k else None
        plain = before is None or before.said in CONNECTORS or before.sense not in PLACE_WORDS | PREPOSITIONS | ARTICLES
        if word.said == "right" and plain and found[k + 1].said in PREPOSITIONS - {"of"}:
            found[k] = Word("right", "just", word.start, word.end)
    return found


def sense(words: Words, k: int) -> str:
    """What word `k` stands for; "" behind the last."""
    return words[k].sense if 0 <= k < len(words) else ""


def said(words: Words, k: int) -> str:
    """Word `k`; "" behind the last."""
    return words[k].said if 0 <= k < len(words) else ""


def starts(words: Words, k: int, *phrases: str) -> int | None:
    """Where the first of the phrases that stands at `k` ends; a word in a phrase stands for its sense or itself."""
    for phrase in phrases:
        parts = phrase.split()
        if all(part in (sense(words, k + n), said(words, k + n)) for n, part in enumerate(parts)):
            return k + len(parts)
    return None


def is_noun(words: Words, k: int) -> bool:
    """Whether word `k` goes on naming a thing: it begins no preposition, clause or determiner."""
    word = said(words, k)
    known = PREPOSITIONS | CONNECTORS | DETERMINERS | NUMBERS.keys() | _OTHER_FUNCTION_WORDS
    return bool(word) and word not in known and sense(words, k) not in known and not words[k].after_pause
