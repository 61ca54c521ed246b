"""Scores of boxes by hand, and what must hold for all of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refersat.box import Box, box_iou, box_overlap
from refersat.evaluation.boxes import BoxTally

box = st.tuples(*[st.integers(0, 30)] * 2, *[st.integers(1, 30)] * 2).map(
    lambda each: (float(each[0]), float(each[1]), float(each[0] + each[2]), float(each[1] + each[3]))
)


def test_by_hand() -> None:
    tally = BoxTally()
    tally.add((0, 0, 10, 10), (0, 0, 10, 10))  # 1
    tally.add((0, 0, 10, 10), (0, 0, 10, 20))  # 0.5, which counts at 0.5
    tally.add((0, 0, 10, 10), (5, 0, 15, 10))  # 50 / 150
    tally.add((0, 0, 10, 10), (20, 20, 30, 30))  # 0
    result = tally.result()
    assert result["count"] == 4
    assert result["mIoU"] == pytest.approx(100 * (1 + 0.5 + 1 / 3 + 0) / 4)
    assert result["cumIoU"] == pytest.approx(100 * (100 + 100 + 50) / (100 + 200 + 150 + 200))
    assert [result[f"Acc@{t}"] for t in (0.5, 0.6, 0.7, 0.8, 0.9)] == [50, 25, 25, 25, 25]


def test_nothing_has_no_scores() -> None:
    result = BoxTally().result()
    assert result.pop("count") == 0
    assert set(result.values()) == {None}


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((0, 0, 4, 4), (2, 2, 6, 6), (4, 28)),
        ((0, 0, 4, 4), (4, 0, 8, 4), (0, 32)),
        ((0, 0, 4, 4), (1, 1, 2, 2), (1, 16)),
        ((4, 4, 0, 0), (0, 0, 4, 4), (0, 16)),
        ((1, 1, 1, 1), (1, 1, 1, 1), (0, 0)),
    ],
)
def test_overlaps_by_hand(one: Box, other: Box, expected: tuple[float, float]) -> None:
    assert box_overlap(one, other) == expected
    assert box_iou(one, other) == pytest.approx(expected[0] / expected[1] if expected[1] else 0)


@given(st.lists(st.tuples(box, box), min_size=1, max_size=6))
def test_scores_fall_with_the_threshold_and_do_not_depend_on_the_order(pairs: list[tuple[Box, Box]]) -> None:
    tally, turned = BoxTally(), BoxTally()
    for prediction, truth in pairs:
        tally.add(prediction, truth)
    for prediction, truth in reversed(pairs):
        turned.add(truth, prediction)
    result = tally.result()
    assert {name: pytest.approx(value) for name, value in result.items()} == turned.result()
    shares = [result[f"Acc@{t}"] for t in (0.5, 0.6, 0.7, 0.8, 0.9)]
    assert shares == sorted(shares, reverse=True)
    assert 0 <= result["mIoU"] <= 100
    assert 0 <= result["cumIoU"] <= 100


@given(box, st.floats(0.1, 10), st.floats(-5, 5))
def test_a_box_and_itself_anywhere(one: Box, scale: float, shift: float) -> None:
    tally = BoxTally()
    moved = tuple(value * scale + shift for value in one)
    tally.add(moved, moved)  # type: ignore[arg-type]
    assert tally.result()["mIoU"] == pytest.approx(100)
    assert tally.result()["Acc@0.9"] == 100
