"""Names of things: plurals, what category they name, and which of their words is the thing itself."""

from __future__ import annotations

from functools import cache

from refersat.text.corpus import BROADER_CATEGORIES
from refersat.text.spoken import vocabulary
from refersat.text.words import SYNONYMS, UNCOUNTED, plural

_SUBSTANCES = UNCOUNTED - {"aircraft", "watercraft"}


@cache
def _names() -> dict[str, str]:
    """What categories are called, in the singular, to the category."""
    names: dict[str, str] = {name: name for name in BROADER_CATEGORIES}
    for category, pool in SYNONYMS.items():
        names |= dict.fromkeys((category, *pool.train, *pool.heldout), category)
    return names


@cache
def _plurals() -> dict[str, str]:
    return {plural(name): name for name in _names() if plural(name) != name}


def category_of(noun: str) -> str:
    """The category that goes by this name (singular), or the name itself where none does."""
    return _names().get(noun, noun)


def is_substance(noun: str) -> bool:
    """Whether the noun (singular) names what covers the ground, as "water" does, and not single things."""
    return split_head(noun)[0].rpartition(" ")[2] in _SUBSTANCES


def split_head(noun: str) -> tuple[str, str, str]:
    """A noun before its first preposition, the preposition, and the rest: "car", " on ", "the road"."""
    parts = noun.split(" ")
    for k, word in enumerate(parts[1:], start=1):
        if word in _BEHIND_HEAD:
            return " ".join(parts[:k]), f" {word} ", " ".join(parts[k + 1 :])
    return noun, "", ""


_BEHIND_HEAD = vocabulary(
    "for of in on at with without along across over under between by near to that which made parked docked "
    "moored surrounded from beside behind around inside through"
)


def singular(noun: str) -> tuple[str, bool]:
    """A noun in the singular, and whether it was in the plural."""
    if noun in _plurals():
        return _plurals()[noun], True
    if noun in _names():
        return noun, False
    head, preposition, rest = split_head(noun)
    start, blank, last = head.rpartition(" ")
    for k in range(len(head.split(" "))):
        tail = " ".join(head.split(" ")[k:])
        if tail in _plurals():
            return head[: len(head) - len(tail)] + _plurals()[tail] + preposition + rest, True
    if last.endswith("ies") and len(last) > 4:
        last = last[:-3] + "y"
    elif last.endswith(("ches", "shes", "sses", "xes")):
        last = last[:-2]
    elif last.endswith("s") and not last.endswith(("ss", "us", "is")):
        last = last[:-1]
    else:
        return noun, False
    return start + blank + last + preposition + rest, True
