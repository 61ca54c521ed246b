"""Mirrored phrases: words change together and twice is once, or the phrase is left alone."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refersat.text.corpus import corpus
from refersat.text.flips import Flip, flipped

FLIPS: tuple[Flip, ...] = ("left-right", "up-down")
PLACES = "left right top bottom upper lower above below leftmost rightmost topmost lowest highest north southwest east"
OTHERS = "the a ship on in at to near next and than is far bank corner under bottom-right left-hand rght , ."
WORDS = [*PLACES.split(" "), *OTHERS.split(" ")]


@pytest.mark.parametrize(
    ("phrase", "left_right", "up_down"),
    [
        ("The ship on the left", "The ship on the right", "The ship on the left"),
        (
            "a car on the upper right of the harbor",
            "a car on the upper left of the harbor",
            "a car on the lower right of the harbor",
        ),
        ("the leftmost tank", "the rightmost tank", "the leftmost tank"),
        ("Top-left plane", "Top-right plane", "Bottom-left plane"),
        ("TOP RIGHT", "TOP LEFT", "BOTTOM RIGHT"),
        ("the court above the pool", "the court above the pool", "the court below the pool"),
        (
            "in the north-east, near the southern road",
            "in the north-west, near the southern road",
            "in the south-east, near the northern road",
        ),
        ("the northwestern field", "the northeastern field", "the southwestern field"),
        (
            "vehicle towards the bottom-right corner.",
            "vehicle towards the bottom-left corner.",
            "vehicle towards the top-right corner.",
        ),
        ("a red roof", "a red roof", "a red roof"),
        ("the house right next to the road", None, "the house right next to the road"),
        ("the one on the right next to me", "the one on the left next to me", "the one on the right next to me"),
        ("a right-angled pier", None, "a right-angled pier"),
        ("the left bank of the river", None, None),
        ("the antenna on top of the roof", "the antenna on top of the roof", None),
        ("the car under the bridge", "the car under the bridge", None),
        ("is a little lower than the other", "is a little lower than the other", None),
        ("boats lined up at the pier", "boats lined up at the pier", None),
        ("bright lights, uprights and leftovers",) * 3,
        ("going clockwise", None, None),
        ("the lEFT one", None, "the lEFT one"),
    ],
)
def test_examples(phrase: str, left_right: str | None, up_down: str | None) -> None:
    assert [flipped(phrase, flip) for flip in FLIPS] == [left_right, up_down]


@given(words=st.lists(st.sampled_from(WORDS), max_size=12), flip=st.sampled_from(FLIPS), upper=st.booleans())
def test_twice_is_once_for_phrases_of_places(words: list[str], flip: Flip, upper: bool) -> None:
    phrase = " ".join(words)
    phrase = phrase.upper() if upper else phrase.capitalize()
    mirrored = flipped(phrase, flip)
    if mirrored is not None:
        assert flipped(mirrored, flip) == phrase


@given(phrase=st.text(max_size=60), flip=st.sampled_from(FLIPS))
def test_twice_is_once_for_any_text(phrase: str, flip: Flip) -> None:
    mirrored = flipped(phrase, flip)
    assert mirrored is None or flipped(mirrored, flip) == phrase


@given(words=st.lists(st.sampled_from(WORDS), max_size=12))
def test_both_mirrors_can_be_used_in_any_order(words: list[str]) -> None:
    phrase = " ".join(words)
    across, over = flipped(phrase, "left-right"), flipped(phrase, "up-down")
    if across is not None and over is not None:
        first, second = flipped(across, "up-down"), flipped(over, "left-right")
        assert first == second or None in (first, second)


def test_generated_phrases_change_all_their_words_or_none() -> None:
    sides = re.compile(r"\b(left|right)", re.IGNORECASE)
    seen = refused = 0
    for phrase in set(corpus(np.random.default_rng(0), 3000)):
        mirrored = flipped(phrase, "left-right")
        if mirrored is None:
            refused += 1
            continue
        before, after = ([word.lower() for word in sides.findall(text)] for text in (phrase, mirrored))
        assert after == [{"left": "right", "right": "left"}[word] for word in before]
        assert sides.sub("", phrase) == sides.sub("", mirrored)
        seen += bool(before)
    assert seen > 300
    assert refused < seen / 4
