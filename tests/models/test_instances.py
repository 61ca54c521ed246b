"""Single objects from cells: as many as there are, each with its box and its own cells."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from refersat.models.instances import (
    SAME_OBJECT,
    TRACED_ROUNDS,
    Instances,
    corners,
    find_instances,
    overlaps,
    unsuppressed,
)

SIDE = 24
Box = tuple[int, int, int, int]


def drawn(boxes: list[Box]) -> tuple[Tensor, Tensor]:
    """What perfect heads say of boxes (x0, y0, x1, y1) in cells: probability and edges of one image."""
    probability, edges = torch.full((1, 1, SIDE, SIDE), 0.01), torch.ones(1, 4, SIDE, SIDE)
    for x0, y0, x1, y1 in boxes:
        y, x = torch.meshgrid(torch.arange(y0, y1) + 0.5, torch.arange(x0, x1) + 0.5, indexing="ij")
        edges[0, :, y0:y1, x0:x1] = torch.stack([x - x0, y - y0, x1 - x, y1 - y])
        probability[0, 0, y0:y1, x0:x1] = 0.9
    return probability, edges


def found(boxes: list[Box], count: int = 8) -> Instances:
    return find_instances(*drawn(boxes), count=count)


@st.composite
def apart(draw: st.DrawFn) -> list[Box]:
    """Up to nine boxes, each within its own cell of a 3x3 grid, at least two cells wide and high."""
    boxes = []
    for place in draw(st.sets(st.integers(0, 8))):
        left, top = (place % 3) * 8, (place // 3) * 8
        x0, y0 = draw(st.integers(0, 4)), draw(st.integers(0, 4))
        width, height = draw(st.integers(2, 7 - x0)), draw(st.integers(2, 7 - y0))
        boxes.append((left + x0, top + y0, left + x0 + width, top + y0 + height))
    return boxes


@given(apart())
def test_every_object_is_found_once_with_its_box_and_cells(boxes: list[Box]) -> None:
    instances = found(boxes, count=12)
    there = instances.scores[0] > 0
    told = {tuple(box) for box in (instances.boxes[0, there] * SIDE).round().int().tolist()}
    assert told == set(boxes)
    assert int(there.sum()) == len(boxes)
    for x0, y0, x1, y1 in boxes:
        owners = instances.owners[0, y0:y1, x0:x1].unique()
        assert len(owners) == 1
        assert owners.item() < instances.count
    assert not instances.boxes[0, ~there].any()


def test_the_most_certain_come_first_and_no_more_than_asked_for() -> None:
    boxes = [(0, 0, 4, 4), (8, 0, 12, 4), (16, 0, 20, 4)]
    probability, edges = drawn(boxes)
    probability[..., 0:4, 8:12] = 0.99
    probability[..., 0:4, 16:20] = 0.5
    instances = find_instances(probability, edges, count=2)
    assert (instances.boxes[0] * SIDE).round().int().tolist() == [[8, 0, 12, 4], [0, 0, 4, 4]]
    assert instances.scores[0, 0] > instances.scores[0, 1]


def test_nothing_is_found_where_there_is_nothing() -> None:
    instances = found([])
    assert not instances.scores.any()
    spread = instances.spread(torch.ones(1, instances.count), nobody=-5.0)
    assert spread.shape == (1, 1, SIDE, SIDE)
    assert (spread == -5).all()


def test_values_are_spread_over_own_cells_and_shares_counted_there() -> None:
    left, right = (0, 0, 6, 6), (12, 0, 20, 6)
    instances = found([left, right])
    index = {tuple(box): k for k, box in enumerate((instances.boxes[0] * SIDE).round().int().tolist())}
    values = torch.zeros(2, instances.count)
    values[0, index[left]], values[1, index[right]] = 3.0, 5.0
    spread = instances.spread(values, nobody=-1.0)
    assert (spread[0, 0, 0:6, 0:6] == 3).all()
    assert (spread[1, 0, 0:6, 12:20] == 5).all()
    assert (spread[1, 0, 0:6, 0:6] == 0).all()
    assert (spread[:, 0, 12:] == -1).all()
    half = torch.zeros(1, 1, SIDE, SIDE)
    half[..., 0:3, 0:6] = 1.0
    shares = instances.share(half)[0]
    assert shares[index[left]] == pytest.approx(0.5)
    assert shares[index[right]] == 0


def test_images_do_not_see_each_other() -> None:
    some, others = drawn([(0, 0, 6, 6)]), drawn([(3, 3, 20, 9), (1, 12, 5, 20)])
    together = find_instances(torch.cat([some[0], others[0]]), torch.cat([some[1], others[1]]), count=4)
    for number, (probability, edges) in enumerate((some, others)):
        alone = find_instances(probability, edges, count=4)
        assert alone.count == number + 1
        for name in ("boxes", "scores", "cells"):
            assert torch.equal(getattr(together, name)[number, : alone.count], getattr(alone, name)[0])
        assert not together.scores[number, alone.count :].any()
        nobody = alone.owners[0] == alone.count
        assert torch.equal(together.owners[number].masked_fill(nobody, alone.count), alone.owners[0])
        assert (together.owners[number][nobody] == together.count).all()


boxes = st.tuples(*[st.integers(0, 64).map(lambda edge: edge / 64)] * 4).map(  # shapely loses areas at 5e-324
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)


@given(st.lists(boxes, min_size=1, max_size=4), st.lists(boxes, min_size=1, max_size=4))
def test_overlaps_are_those_of_plane_geometry(some: list[Box], others: list[Box]) -> None:
    shapely = pytest.importorskip("shapely")
    told = overlaps(torch.tensor([some], dtype=torch.float64), torch.tensor([others], dtype=torch.float64))[0]
    for row, one in enumerate(some):
        for column, other in enumerate(others):
            a, b = shapely.box(*one), shapely.box(*other)
            either = a.area + b.area - a.intersection(b).area
            if either > 1e-3:
                assert told[row, column].item() == pytest.approx(a.intersection(b).area / either, abs=1e-6)


def test_corners_are_those_of_the_box_that_each_cell_tells() -> None:
    _, edges = drawn([(2, 4, 10, 8)])
    told = corners(edges)[0, :, 4:8, 2:10].flatten(1).T * SIDE
    torch.testing.assert_close(told, torch.tensor([2.0, 4.0, 10.0, 8.0]).expand_as(told))


def crowd(images: int, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Which of so many random boxes are there, and which overlap as those of one object do."""
    random = torch.Generator().manual_seed(seed)
    corner, size = torch.rand(images, count, 2, generator=random), 0.5 * torch.rand(images, count, 2, generator=random)
    boxes = torch.cat([corner, corner + size], dim=-1)
    there = torch.rand(images, count, generator=random) > 0.2
    return there, overlaps(boxes, boxes) > SAME_OBJECT


@given(st.integers(1, 3), st.integers(1, 40), st.integers(0, 1000))
def test_suppression_takes_the_best_first(images: int, count: int, seed: int) -> None:
    there, same = crowd(images, count, seed)
    kept = unsuppressed(there, same)
    for image in range(images):
        taken: list[int] = []
        for peak in there[image].nonzero()[:, 0].tolist():
            if not any(same[image, peak, other] for other in taken):
                taken.append(peak)
        assert kept[image].nonzero()[:, 0].tolist() == taken


def chain(length: int) -> Tensor:
    """Of boxes in a row, which overlap: each its neighbours."""
    return (torch.arange(length)[:, None] - torch.arange(length)).abs()[None] <= 1


@pytest.mark.parametrize("length", [1, 2, TRACED_ROUNDS, 100])
def test_suppression_of_a_chain_leaves_every_other_one(length: int) -> None:
    kept = unsuppressed(torch.ones(1, length, dtype=torch.bool), chain(length))
    assert kept[0].tolist() == [place % 2 == 0 for place in range(length)]


def test_a_graph_settles_chains_that_are_as_long_as_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.compiler.is_exporting", lambda: True)
    kept = unsuppressed(torch.ones(1, TRACED_ROUNDS, dtype=torch.bool), chain(TRACED_ROUNDS))
    assert kept[0].tolist() == [place % 2 == 0 for place in range(TRACED_ROUNDS)]
