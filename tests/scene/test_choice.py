"""The strategy follows from phrase and size, and says so."""

from __future__ import annotations

from refersat.scene.choice import choose
from refersat.scene.window import Window

LARGE, SMALL = Window(0, 0, 5000, 300), Window(0, 0, 700, 500)


def test_auto_chooses_by_size_and_phrase() -> None:
    assert choose("auto", ["the largest barn"], SMALL, 800).name == "whole"
    assert choose("auto", ["all barns", "the red roof"], LARGE, 800).name == "tile"
    assert choose("auto", ["all barns", "the largest barn"], LARGE, 800).name == "coarse-to-fine"


def test_auto_names_the_words_it_goes_by() -> None:
    choice = choose("auto", ["the largest barn", "the barn in the upper left"], LARGE, 800)
    assert choice.reason == '"largest" and "in the upper left" are about the whole scene'
    assert choice.warning is None
    assert "\n" not in choice.reason


def test_tile_warns_of_words_that_no_tile_understands() -> None:
    warning = choose("tile", ["all barns", "the northernmost barn"], LARGE, 800).warning
    assert warning
    assert '"northernmost" is about the whole scene' in warning
    assert "coarse-to-fine" in warning
    assert choose("tile", ["all barns"], LARGE, 800).warning is None
    assert choose("tile", ["the northernmost barn"], SMALL, 800).warning is None
