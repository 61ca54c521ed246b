"""Which words of a phrase are about the whole scene, and not about what lies around the object.

"The largest", "on the far left", "in the upper right", "the second from the top" and "below the bridge" can be answered
only by one who sees the whole scene: a model that sees it in tiles finds a largest, leftmost and upper right one in
every tile. "The red roof", "all ships" and "near the road" mean the same in every tile that shows the object.
"""

from __future__ import annotations

from refersat.text.clues import adjectives_at, direction_at, extreme_at, place_at, run_at, size_behind_at
from refersat.text.spoken import ARTICLES, DETERMINERS, RANKS, Words, is_noun, said, sense, spoken, vocabulary

_SUPERLATIVES = vocabulary(
    "largest smallest longest shortest widest narrowest tallest brightest darkest oldest newest densest "
    "busiest highest lowest thickest thinnest deepest furthest closest most least biggest"
)
_COMPARATIVES = vocabulary("larger smaller longer shorter wider narrower taller brighter darker")


def scene_words(phrase: str) -> tuple[str, ...]:
    """The words about the scene, as they stand in the phrase, in its order; none where a tile is enough.

    >>> scene_words("The second largest ship, located towards the bottom-right corner of the image")
    ('second', 'largest', 'towards the bottom-right corner of the image')
    >>> scene_words("all red roofs next to a road")
    ()
    """
    words = spoken(phrase)
    return tuple(phrase[words[first].start : words[end - 1].end] for first, end in scene_spans(words))


def scene_spans(words: Words) -> list[tuple[int, int]]:
    """Where words about the scene stand among the words of a phrase: from, to (just behind)."""
    spans = []
    k = 0
    while k < len(words):
        end = _end(words, k)
        if end:
            spans.append((k, end))
        k = end or k + 1
    return spans


def _end(words: Words, k: int) -> int | None:
    """Where what begins at word `k` and is about the scene ends."""
    behind = size_behind_at(words, k)
    extreme = extreme_at(words, k)
    place = place_at(words, k)
    if extreme:
        return extreme[1]
    if behind and sense(words, k) not in ARTICLES and not is_noun(words, behind[1]):
        return behind[1]
    if place:
        return place[1]
    direction = direction_at(words, k)
    beside = direction is not None and (direction[0] == "near" or sense(words, k) == "just")  # "right next to"
    if direction and not beside and direction[1] < len(words):
        return direction[1]
    on_it = said(words, k) == "on" and said(words, k + 1) == "top"
    part = run_at(words, k + 1) if sense(words, k) in ("in", "on", "at", "to") and not on_it else None
    if part and part.sides and sense(words, part.end) == "of":  # "in the northern part of the city"
        return part.end
    if _is_ordinal(words, k):
        run = run_at(words, k + 1) if said(words, k) == "from" else None
        return run.end if run else k + 1
    if sense(words, k) in _SUPERLATIVES or (sense(words, k) in _COMPARATIVES and said(words, k + 1) != "than"):
        return k + 1
    before = said(words, k - 1)
    if before == "the" and sense(words, k) in ("large", "small") and not _is_plural_behind(words, k):
        return k + 1
    run = adjectives_at(words, k)
    return run.end if run else None


def _is_ordinal(words: Words, k: int) -> bool:
    if said(words, k) == "from":
        run = run_at(words, k + 1)
        return run is not None and run.extreme is not None and any(said(words, n) in RANKS for n in range(k))
    return (said(words, k) in RANKS or said(words, k) == "last") and is_noun(words, k + 1)


def _is_plural_behind(words: Words, k: int) -> bool:
    """Whether the noun behind an adjective is in the plural: "the large ships" are not the largest."""
    last = k + 1
    while is_noun(words, last + 1) and said(words, last + 1) not in DETERMINERS:
        last += 1
    return said(words, last).endswith("s") and not said(words, last).endswith(("ss", "us"))
