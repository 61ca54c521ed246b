"""The numbers of an axis are round, evenly spaced and within it."""

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from refersat.page.scale import round_numbers


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_round_numbers_lie_within_and_are_evenly_spaced(low, size):
    high = low + size
    assume(high > low)
    found = round_numbers(low, high)
    margin = 1e-6 * size
    assert 2 <= len(found) <= 8
    assert low - margin <= found[0]
    assert found[-1] <= high + margin
    steps = {round((b - a) / size, 6) for a, b in itertools.pairwise(found)}
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 58, [0, 20, 40]),
        (-3, 3, [-2, 0, 2]),
        (0, 1234, [0, 500, 1000]),
        (5, 5, [5]),
    ],
)
def test_round_numbers(low, high, expected):
    assert round_numbers(low, high) == expected
