"""Overlaps of boxes against shapely's areas, and what must hold for all boxes."""

from __future__ import annotations

import pytest
import shapely
import torch
from hypothesis import given
from hypothesis import strategies as st

from refersat.models.grounding.boxes import overlaps, to_centres, to_corners

STEP = 2.0**-16  # shapely cannot cut boxes whose corners are almost, but not quite, the same
place = st.integers(-(2**16), 2**16)
side = st.integers(2**9, 2**16)
box = st.tuples(place, place, side, side).map(
    lambda each: (STEP * each[0], STEP * each[1], STEP * (each[0] + each[2]), STEP * (each[1] + each[3]))
)


def tensor(values: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@given(box, box)
def test_as_shapely_says(one: tuple[float, ...], other: tuple[float, ...]) -> None:
    first, second = shapely.box(*one), shapely.box(*other)
    union = first.union(second).area
    hull = shapely.box(*first.union(second).bounds).area
    expected = first.intersection(second).area / union
    iou, giou = overlaps(tensor(one), tensor(other))
    assert float(iou) == pytest.approx(expected, abs=1e-9)
    assert float(giou) == pytest.approx(expected - (hull - union) / hull, abs=1e-9)


@given(box, box, st.floats(0.1, 10), st.floats(-3, 3))
def test_neither_order_nor_unit_nor_place_matter(
    one: tuple[float, ...], other: tuple[float, ...], scale: float, shift: float
) -> None:
    first, second = tensor(one), tensor(other)
    expected = torch.stack(overlaps(first, second))
    torch.testing.assert_close(torch.stack(overlaps(second, first)), expected)
    moved = torch.stack(overlaps(first * scale + shift, second * scale + shift))
    torch.testing.assert_close(moved, expected, atol=1e-6, rtol=1e-6)
    assert -1 <= float(expected[1]) <= float(expected[0]) + 1e-9 <= 1 + 2e-9
    torch.testing.assert_close(torch.stack(overlaps(first, first)), torch.ones(2, dtype=torch.float64))


def test_apart_the_generalised_one_tells_how_far() -> None:
    first = tensor((0, 0, 1, 1))
    giou = [float(overlaps(first, tensor((1 + gap, 0, 2 + gap, 1)))[1]) for gap in (0, 1, 2)]
    assert giou == pytest.approx([0, -1 / 3, -1 / 2])


def test_boxes_without_area_have_nothing_in_common_and_a_finite_gradient() -> None:
    point = torch.tensor([0.5, 0.5, 0.5, 0.5], requires_grad=True)
    for value in overlaps(point, torch.tensor([0.5, 0.5, 0.5, 0.5])):
        assert value.item() == 0
        value.backward(retain_graph=True)
    assert point.grad is not None
    assert torch.isfinite(point.grad).all()


@given(box)
def test_there_and_back(one: tuple[float, ...]) -> None:
    torch.testing.assert_close(to_corners(to_centres(tensor(one))), tensor(one))


def test_centres_by_hand() -> None:
    assert to_centres(tensor((1, 2, 3, 8))).tolist() == [2, 5, 2, 6]
