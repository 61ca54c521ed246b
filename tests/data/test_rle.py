"""Run-length encodings against an encoder that works number by number."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from refersat.data import rle
from tests.data.factories.rle import compress, encode, runs

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@settings(max_examples=200, deadline=None)
@given(mask=MASKS, compressed=st.booleans())
def test_a_mask_comes_back(mask: np.ndarray, compressed: bool) -> None:
    np.testing.assert_array_equal(rle.decode(encode(mask, compressed=compressed)), mask)


@settings(max_examples=200, deadline=None)
@given(mask=MASKS)
def test_the_box_is_that_of_the_mask(mask: np.ndarray) -> None:
    rows, columns = np.nonzero(mask)
    expected = None
    if len(rows):
        expected = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert rle.bounds(encode(mask)) == expected


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 2000), width=st.integers(1, 2000), cuts=st.lists(st.integers(0, 4_000_000), max_size=12))
def test_long_runs_come_back(height: int, width: int, cuts: list[int]) -> None:
    """Runs of several characters, differences of both signs, and runs of no length, which some writers make."""
    total = height * width
    edges = [0, *sorted(min(cut, total) for cut in cuts), total]
    counts = [b - a for a, b in pairwise(edges)]
    plain = {"size": [height, width], "counts": counts}
    text = {"size": [height, width], "counts": compress(counts)}
    np.testing.assert_array_equal(rle.decode(text), rle.decode(plain))
    assert rle.bounds(text) == rle.bounds(plain)


def test_runs_worked_out_by_hand() -> None:
    """Column by column: of 3 x 2, the lowest of the first column and the two upper ones of the second."""
    mask = np.array([[0, 1], [0, 1], [1, 0]], bool)
    assert runs(mask) == [2, 3, 1]
    assert encode(mask)["counts"] == "231"
    np.testing.assert_array_equal(rle.decode({"size": [3, 2], "counts": "231"}), mask)
    np.testing.assert_array_equal(rle.decode({"size": [3, 2], "counts": b"231"}), mask)


def test_a_mask_without_foreground() -> None:
    for counts in ([12], [0, 0, 12], [5, 0, 7]):
        assert not rle.decode({"size": [3, 4], "counts": counts}).any()
        assert rle.bounds({"size": [3, 4], "counts": counts}) is None
    assert rle.decode({"size": [0, 4], "counts": ""}).shape == (0, 4)


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ({"counts": [4]}, "size"),
        ({"size": [2, 2]}, "counts"),
        ({"size": [2], "counts": [2]}, "not a run-length encoding"),
        ({"size": [2, 2], "counts": [3]}, "does not fill"),
        ({"size": [2, 2], "counts": [5, -1]}, "does not fill"),
        ({"size": [2, 2], "counts": []}, "does not fill"),
        ({"size": [2, 2], "counts": [2**62, 2**62, 2**62, 2**62]}, "does not fill"),
        ({"size": [2, 2], "counts": [2**80]}, "not a run-length encoding"),
        ({"size": [2, 2], "counts": ["x"]}, "not a run-length encoding"),
        ({"size": [10**6, 10**6], "counts": [10**12]}, "1000000 x 1000000 pixels"),
        ({"size": [-2, -2], "counts": [4]}, "-2 x -2 pixels"),
        ({"size": [2, 2], "counts": "4\x7f"}, "other characters"),
        ({"size": [2, 2], "counts": "\u00e9"}, "not a run-length encoding"),
        ({"size": [2, 2], "counts": "4P"}, "cut short"),
        ({"size": [2, 2], "counts": "o" * 8 + "0"}, "too large"),
    ],
)
def test_what_is_malformed_is_refused(encoded: dict, message: str) -> None:
    for read in (rle.decode, rle.bounds):
        with pytest.raises(ValueError, match=message):
            read(encoded)
