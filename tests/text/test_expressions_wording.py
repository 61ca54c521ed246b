"""What phrases look like: plurals, halves of the wordings, and the corpus."""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest

from refersat.text import words
from refersat.text.corpus import corpus
from refersat.text.expressions import Grammar
from refersat.text.grammar import Style
from refersat.text.meaning import Meaning, Place, Relation
from refersat.text.words import Pool

SHIP = Meaning("unique", "ship", (0,))
MEANINGS = (
    SHIP,
    Meaning("group", "airplane", (0, 1), plural=True, count=2, total=2),
    Meaning("group", "ship", (0, 1, 2), plural=True, count=3, total=5, place=Place("side", side="top")),
    Meaning("position", "bridge", (0,), place=Place("cell", 0, 2)),
    Meaning("position", "bridge", (0,), place=Place("cell", 1, 1)),
    Meaning("position", "harbor", (0,), place=Place("edge", side="left")),
    Meaning("position", "harbor", (0,), place=Place("quadrant", 2, 0)),
    Meaning("extreme", "tennis court", (0,), total=4, extreme="right", far=True, place=Place("cell", 0, 2)),
    Meaning("extreme", "tennis court", (0,), total=4, extreme="right", rank=3),
    Meaning("size", "storage tank", (0,), total=2, size="smallest"),
    Meaning("relation", "vehicle", (1,), relation=Relation("upper left", SHIP)),
    Meaning("colour", "ship", (1,), colour="white"),
    Meaning("absent-position", "ship", place=Place("half", side="bottom")),
)

IDS = [f"{k}-{meaning.kind}-{meaning.category.replace(' ', '-')}" for k, meaning in enumerate(MEANINGS)]


def say(meaning: Meaning, style: Style, times: int = 200) -> list[tuple[str, bool]]:
    rnd = Random(0)
    return [Grammar(style).phrase(meaning, rnd) for _ in range(times)]


@pytest.mark.parametrize("style", ["train", "heldout", "all"])
@pytest.mark.parametrize("meaning", MEANINGS, ids=IDS)
def test_phrases_are_plain_text(meaning: Meaning, style: Style) -> None:
    for phrase, _ in say(meaning, style):
        assert re.fullmatch(r"[A-Za-z0-9 ,-]+[.?]?", phrase), phrase
        assert "  " not in phrase
        assert phrase == phrase.strip()
        assert not re.search(r"\b(a|an|the) (a|an|the|all|every|both)\b", phrase.lower()), phrase


@pytest.mark.parametrize(
    ("meaning", "words_in_all"),
    [
        (MEANINGS[3], r"(upper|top)[ -]right"),
        (MEANINGS[4], r"middle|cent(er|re)|central"),
        (MEANINGS[6], r"(lower|bottom)[ -]left"),
        (MEANINGS[8], r"(third|3rd).*from the right"),
        (MEANINGS[10], r"(upper|top)[ -]left of|(above|below) and to the left of"),
        (MEANINGS[11], r"white"),
        (MEANINGS[12], r"(bottom|lower) half"),
    ],
)
def test_phrases_say_what_is_meant(meaning: Meaning, words_in_all: str) -> None:
    for phrase, _ in say(meaning, "train"):
        assert re.search(words_in_all, phrase.lower()), phrase


def test_wordings_are_many() -> None:
    assert len({phrase.lower().rstrip(".?") for phrase, _ in say(MEANINGS[3], "train", 1000)}) > 300


def test_groups_are_spoken_of_in_the_plural() -> None:
    for phrase, _ in say(MEANINGS[1], "train"):
        plural = re.search(r"\b(airplanes|planes|aircraft|jets|aeroplanes)\b", phrase.lower())
        assert plural or re.search(r"\bevery\b", phrase.lower()), phrase
        assert not re.search(r"\b(three|four)\b", phrase.lower()), phrase
    for phrase, _ in say(MEANINGS[2], "train"):
        assert not re.search(r"(ships|boats|vessels) (is|lies|appears)\b", phrase), phrase
    assert any(" three " in f" {phrase.lower()} " for phrase, _ in say(MEANINGS[2], "train"))


def test_single_objects_are_spoken_of_in_the_singular() -> None:
    for phrase, _ in say(SHIP, "all"):
        assert re.search(r"\b(ship|boat|vessel|watercraft)\b", phrase.lower()), phrase
        assert not re.search(r"\b(all|every|both|ships|boats)\b", phrase.lower()), phrase


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("ship", "ships"),
        ("aircraft", "aircraft"),
        ("jetty", "jetties"),
        ("court for tennis", "courts for tennis"),
        ("bus", "buses"),
        ("beach", "beaches"),
        ("driveway", "driveways"),
        ("storage tank", "storage tanks"),
    ],
)
def test_plurals(one: str, many: str) -> None:
    assert words.plural(one) == many


def pools() -> Iterator[Pool]:
    for value in vars(words).values():
        candidates = value.values() if isinstance(value, dict) else (value,)
        yield from (pool for pool in candidates if isinstance(pool, Pool))


def test_the_halves_of_the_wordings_are_apart() -> None:
    found = list(pools())
    assert sum(bool(pool.heldout) for pool in found) > 30
    for pool in found:
        assert pool.train
        assert not set(pool.train) & set(pool.heldout)


@pytest.mark.parametrize("meaning", MEANINGS, ids=IDS)
def test_styles_keep_to_their_halves(meaning: Meaning) -> None:
    trained, heldout = say(meaning, "train"), say(meaning, "heldout")
    assert not any(flag for _, flag in trained)
    assert sum(flag for _, flag in heldout) > 0.95 * len(heldout)
    both = [flag for _, flag in say(meaning, "all", 400)]
    assert 0.3 < sum(both) / len(both) < 0.7
    # A phrase with a held-out wording is one that training never hears.
    heard = {phrase.lower().rstrip(".?") for phrase, _ in say(meaning, "train", 3000)}
    assert not heard & {phrase.lower().rstrip(".?") for phrase, flag in heldout if flag}


def test_the_corpus_is_as_long_as_asked_and_repeatable() -> None:
    sentences = list(corpus(np.random.default_rng(1), 503))
    assert len(sentences) == 503
    assert sentences == list(corpus(np.random.default_rng(1), 503))
    text = " ".join(sentences).lower()
    for word in ("airplane", "road", "left", "gray", "building"):
        assert word in text
