"""The picture of an answer shows where it is, and says when it is nowhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from refersat.overlay import LONGEST_SIDE, SHORTEST_LONG_SIDE, draw_overlay


def draw(mask: NDArray[np.bool_], *, present: bool = True, phrase: str = "the thing") -> PIL.Image.Image:
    grey = np.full((*mask.shape, 3), 120, dtype=np.uint8)
    return draw_overlay(grey, mask, phrase=phrase, score=0.87, present=present)


@pytest.fixture
def disc() -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:800, :1000]
    inside: NDArray[np.bool_] = (rows - 300) ** 2 + (columns - 400) ** 2 < 150**2
    return inside


def test_inside_is_tinted_the_edge_is_drawn_outside_is_untouched(disc: NDArray[np.bool_]) -> None:
    pixels = np.asarray(draw(disc)).astype(int)
    red_over_green = pixels[:800, :, 0] - pixels[:800, :, 1]
    rows, columns = np.mgrid[:800, :1000]
    radius = np.hypot(rows - 300, columns - 400)
    assert (pixels[:800][radius > 155] == 120).all()
    assert len(np.unique(pixels[:800][radius < 145].reshape(-1, 3), axis=0)) == 1
    assert 30 < red_over_green[300, 400] < 120
    assert red_over_green[np.abs(radius - 149) < 1].min() > 150


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (30, 3000), (3000, 30), (5000, 5000), (5, 9000), (400, 719)])
def test_any_size_gives_a_picture_that_fits_a_screen(shape: tuple[int, int]) -> None:
    mask = np.ones(shape, dtype=bool)
    picture = draw(mask)
    long_side = max(picture.width, picture.height)
    bar = draw(mask[:1, :1]).height - SHORTEST_LONG_SIDE
    assert SHORTEST_LONG_SIDE <= long_side <= LONGEST_SIDE + 4 * bar


def test_the_caption_shows_phrase_and_score(disc: NDArray[np.bool_]) -> None:
    def bar(**changes: Any) -> NDArray[np.uint8]:
        return np.asarray(draw(disc, **changes))[800:]

    assert bar().shape == bar(phrase="another").shape
    assert (bar() != bar(phrase="another")).any()
    assert (bar()[:, 900:] == bar(phrase="another")[:, 900:]).all()  # the same score on the right
    long = bar(phrase="so many words " * 60)
    assert bar().shape[0] < long.shape[0] < 200


@pytest.mark.parametrize("phrase", ["x" * 1000, "船在左边", "[bold]", "a\u0301 \U0001f6a2", "|"])
def test_any_phrase_can_be_drawn(disc: NDArray[np.bool_], phrase: str) -> None:
    assert draw(disc, phrase=phrase).width == 1000


def test_what_is_not_there_is_said_and_the_image_fades(disc: NDArray[np.bool_]) -> None:
    absent = np.asarray(draw(disc & False, present=False)).astype(int)
    present = np.asarray(draw(disc & False, present=True)).astype(int)
    assert (absent[:800] < 120).all()
    amber = (absent[800:, 100:, 0] > 200) & (absent[800:, 100:, 2] < 120)
    assert amber.any()
    assert not ((present[800:, 100:, 0] > 200) & (present[800:, 100:, 1] > 150) & (present[800:, 100:, 2] < 120)).any()
