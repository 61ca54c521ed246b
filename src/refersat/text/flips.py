"""Phrases for mirrored images: left becomes right, and upper becomes lower, wherever they speak of places.

A phrase is rewritten only where that is safe. Where a word could mean something else ("right next to", "on top of",
"the left bank"), there is no answer, and the image must stay as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

Flip = Literal["left-right", "up-down"]

_LEFT_RIGHT = {
    "left": "right",
    "leftmost": "rightmost",
    "leftward": "rightward",
    "leftwards": "rightwards",
    "lefthand": "righthand",
    "west": "east",
    "western": "eastern",
    "westernmost": "easternmost",
    "westward": "eastward",
    "northwest": "northeast",
    "northwestern": "northeastern",
    "southwest": "southeast",
    "southwestern": "southeastern",
}
_UP_DOWN = {
    "top": "bottom",
    "topmost": "bottommost",
    "upper": "lower",
    "uppermost": "lowermost",
    "highest": "lowest",
    "above": "below",
    "up": "down",
    "upward": "downward",
    "upwards": "downwards",
    "north": "south",
    "northern": "southern",
    "northernmost": "southernmost",
    "northward": "southward",
    "northwest": "southwest",
    "northwestern": "southwestern",
    "northeast": "southeast",
    "northeastern": "southeastern",
}

_SIDE = r"(?<!the )(?<!upper )(?<!lower )(?<!top )(?<!bottom )(?<!far )(?<!-)(left|right)"
"""Not the name of a side, which would have an article or an adjective before it."""

_OTHERWISE: dict[Flip, list[str]] = {
    "left-right": [
        # "right" as an adverb, and as the opposite of wrong or acute; "left" as what remains
        _SIDE + r" (next|beside|besides|near|by|behind|above|below|under|underneath|beneath|over|across|along|alongside"
        r"|between|in|on|at|after|before|beyond|outside|inside|where|there|here|through|around|against|up|down|out"
        r"|alone|open|empty)",
        r"(left|right)[ -](angle|angled|angles|triangle|triangles|of[ -]way|turn|turns|bank|lane|lanes)",
        r"(left|right)s",
        r"all (left|right)",
        r"lef|lft|letf|lefft|rght|rigth|rihgt|righ",  # misspelt, in published phrases
    ],
    "up-down": [
        # physically on or under something, not at its upper or lower end in the image
        r"on (the )?(top|bottom) of",
        r"(top|bottom)[ -](down|up|view)",
        r"under|beneath|underneath|behind|in front of",
        # comparisons, and verbs with a particle
        r"(upper|lower|up|down) than",
        r"higher",
        r"\w+(ed|ing) (up|down)",
        r"(line|made|make|makes|broken|split|lit|torn|run|runs|cut|close) (up|down)",
        r"(up|down) (to|close)",
        r"(left|right)[ -]bank",
    ],
}
"""What makes a phrase unsafe, also with the words of the mirrored side in it, so that no way back is closed."""

_BOTH_WAYS = [r"clockwise", r"counter-?clockwise", r"anti-?clockwise", r"o'?clock", r"mirror\w*", r"diagonal\w*"]


def flipped(phrase: str, flip: Flip) -> str | None:
    """The phrase for the mirrored image; None where it cannot be said safely.

    Mirroring twice gives the phrase back. "left-right" mirrors left to right, "up-down" top to bottom.

    >>> flipped("The ship on the upper left", "left-right")
    'The ship on the upper right'
    >>> flipped("The ship on the upper left", "up-down")
    'The ship on the lower left'
    >>> flipped("the car right next to the house", "left-right")
    """
    words = _TABLES[flip]
    if _is_unsafe(phrase, flip):
        return None
    pieces = []
    for piece, is_word in _pieces(phrase):
        other = words.get(piece.lower()) if is_word else None
        if other is None:
            pieces.append(piece)
            continue
        cased = _like(piece, other)
        if cased is None:
            return None
        pieces.append(cased)
    mirrored = "".join(pieces)
    return None if _is_unsafe(mirrored, flip) else mirrored


def _is_unsafe(phrase: str, flip: Flip) -> bool:
    return _UNSAFE[flip].search(" ".join(phrase.split())) is not None


def _pieces(phrase: str) -> Iterator[tuple[str, bool]]:
    """Words, and what stands between them; parts of a word joined by a hyphen ("bottom-right") are words."""
    end = 0
    for match in _WORD.finditer(phrase):
        yield phrase[end : match.start()], False
        yield match.group(), True
        end = match.end()
    yield phrase[end:], False


def _like(word: str, other: str) -> str | None:
    """`other` with the capitals of `word`; None where they follow no rule that leads back."""
    for style in (str.lower, str.capitalize, str.upper):
        if style(word) == word:
            return style(other)
    return None


def _both_ways(pairs: dict[str, str]) -> dict[str, str]:
    return pairs | {right: left for left, right in pairs.items()}


def _unsafe(patterns: list[str]) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{'|'.join([*patterns, *_BOTH_WAYS])})(?!\w)", re.IGNORECASE)


_WORD = re.compile(r"[^\W\d_]+")
_TABLES: dict[Flip, dict[str, str]] = {"left-right": _both_ways(_LEFT_RIGHT), "up-down": _both_ways(_UP_DOWN)}
_UNSAFE: dict[Flip, re.Pattern[str]] = {flip: _unsafe(patterns) for flip, patterns in _OTHERWISE.items()}
