"""Images that go through the model together, with those that fail, that are too large, and that end the reading."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refersat.batch.rows import Unit
from refersat.batch.together import Prepared, answered
from refersat.errors import UserError
from refersat.imagery import Image
from refersat.result import Result

MOST = 12
FAILS = 9  # an image of such a width crashes the model


@dataclass
class Model:
    """Takes a few questions, then answers them; no answers at all where one of them crashes it."""

    together: int
    asked: list[list[tuple[str, str]]] = field(default_factory=list)
    most_pixels: int = 0

    def stream(self, questions: Iterable[tuple[Image, str]]) -> Iterator[Result]:
        questions = iter(questions)
        self.asked.append([])
        while batch := list(islice(questions, self.together)):
            self.asked[-1] += [(str(image.path), phrase) for image, phrase in batch]
            self.most_pixels = max(self.most_pixels, sum(image.rgb[..., 0].size for image, _ in batch))
            if any(image.width == FAILS for image, _ in batch):
                raise ValueError("this image\ncrashes me")
            for image, phrase in batch:
                nothing = np.zeros(image.rgb.shape[:2], np.float32)
                yield Result(image, phrase, "it", nothing > 0, nothing, 0.5, False, 1.0, steps="large")  # type: ignore[arg-type]


def prepared(number: int, width: int, phrases: int) -> Prepared:
    """Of one line of pixels; a scene if it has none, unreadable if fewer."""
    unit = Unit(f"{number}.tif", tuple(f"phrase {k}" for k in range(phrases)))
    if width < 0:
        return Prepared(unit, 0.5, error="unreadable")
    image = Image(np.zeros((1, width, 3), np.uint8), path=Path(unit.image)) if width else None
    return Prepared(unit, 0.5, image)


@given(st.lists(st.tuples(st.integers(-1, 10), st.integers(1, 3)), max_size=12), st.integers(1, 5))
def test_each_comes_in_its_turn_with_its_own_answers_or_its_own_fault(
    sizes: list[tuple[int, int]], together: int
) -> None:
    units = [prepared(number, *size) for number, size in enumerate(sizes)]
    model = Model(together)
    found = list(answered(units, model.stream, MOST))
    assert [one.unit for one in found] == [one.unit for one in units]
    for before, one in zip(units, found, strict=True):
        if before.image is None or before.pixels > MOST:
            assert one == before
        elif before.image.width == FAILS:
            assert (one.results, one.error) == (None, "ValueError: this image crashes me")
            assert one.seconds > 0.5
        else:
            assert one.error is None
            assert [(result.image, result.phrase) for result in one.results or ()] == [
                (before.image, phrase) for phrase in before.unit.phrases
            ]
            assert all(result.steps is None for result in one.results or ())
            assert one.seconds > 0.5
    assert model.most_pixels <= MOST


def test_all_that_there_is_room_for_is_asked_in_one_stream() -> None:
    model = Model(4)
    units = [prepared(number, 2, 1) for number in range(4)]
    assert len(list(answered(units, model.stream, MOST))) == 4
    assert [len(asked) for asked in model.asked] == [4]


def test_what_reading_ends_with_is_told_after_the_answers_before_it() -> None:
    def source() -> Iterator[Prepared]:
        yield prepared(0, 2, 1)
        yield prepared(1, 2, 1)
        raise UserError("the disk is full")

    told: list[Any] = []
    with pytest.raises(UserError, match="the disk is full"):
        told.extend(answered(source(), Model(5).stream, MOST))
    assert [len(one.results) for one in told] == [1, 1]
