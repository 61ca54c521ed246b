"""Which questions run together: for any order of images."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refersat.batches import Room, in_batches
from refersat.errors import UserError


def cut(images: str, room: Room) -> list[str]:
    return ["".join(batch) for batch in in_batches(images, room, operator.eq)]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ("", []),
        ("a", ["a"]),
        ("aaa", ["aaa"]),
        ("aaaaaaa", ["aaaaa", "aa"]),
        ("abc", ["abc"]),
        ("abcd", ["abc", "d"]),
        ("aabbc", ["aa", "bb", "c"]),
        ("abb", ["a", "bb"]),
        ("abbc", ["a", "bb", "c"]),
        ("aabcd", ["aa", "bcd"]),
        ("aaaaaab", ["aaaaa", "ab"]),
        ("aba", ["aba"]),
    ],
)
def test_questions_about_one_image_or_images_with_one_question_each(images: str, expected: list[str]) -> None:
    assert cut(images, Room(questions=5, images=3)) == expected


def test_large_models_get_one_image_at_a_time() -> None:
    assert cut("aabcc", Room(questions=1, images=1)) == ["a", "a", "b", "c", "c"]
    assert cut("aabcc", Room(questions=8, images=1)) == ["aa", "b", "cc"]


@given(st.text("abc", max_size=20), st.integers(1, 6), st.none() | st.integers(1, 6))
def test_nothing_is_lost_and_every_batch_fits(images: str, questions: int, together: int | None) -> None:
    batches = cut(images, Room(questions, together))
    assert "".join(batches) == images
    assert all(1 <= len(batch) <= questions for batch in batches)
    if together is None:
        assert all(len(batch) == questions for batch in batches[:-1])
        return
    for batch in batches:
        runs = [len(list(run)) for _, run in groupby(batch)]
        assert len(runs) == 1 or (len(runs) <= together and set(runs) == {1})


@given(st.text("ab", max_size=10), st.integers(1, 4), st.none() | st.integers(1, 4))
def test_what_comes_before_a_mistake_is_given_first(images: str, questions: int, together: int | None) -> None:
    def items() -> Iterator[str]:
        yield from images
        raise UserError("no such image")

    before: list[str] = []

    def take() -> None:
        for batch in in_batches(items(), Room(questions, together), operator.eq):
            before.extend(batch)

    with pytest.raises(UserError, match="no such image"):
        take()
    assert "".join(before) == images


@given(st.text("ab", min_size=1, max_size=10), st.integers(1, 4))
def test_nothing_is_taken_before_its_turn(images: str, questions: int) -> None:
    taken = 0

    def items() -> Iterator[str]:
        nonlocal taken
        for image in images:
            taken += 1
            yield image

    done = 0
    for batch in in_batches(items(), Room(questions), operator.eq):
        done += len(batch)
        assert taken == done
