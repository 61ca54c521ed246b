"""Several views of one image: each object once, and from the view that shows it whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from refersat.models.instances import Instances
from refersat.models.sightings import LEAST_SIDE, Objects, Sighting, Sightings

NOBODY = -20.0
Box = tuple[float, float, float, float]


def sighting(side: int, images: list[list[tuple[Box, float]]]) -> Sighting:
    """A view of so many cells; each image's objects are boxes with their scores, and own the cells of their box."""
    most = max(1, *(len(objects) for objects in images))
    boxes, scores = torch.zeros(len(images), most, 4), torch.zeros(len(images), most)
    owners = torch.full((len(images), side, side), most)
    for number, objects in enumerate(images):
        for place, (box, score) in enumerate(objects):
            boxes[number, place], scores[number, place] = torch.tensor(box), score
            x0, y0, x1, y1 = (round(edge * side) for edge in box)
            owners[number, y0:y1, x0:x1] = place
    features = torch.arange(float(len(images) * most)).view(len(images), most, 1) + side
    instances = Instances(boxes, scores, torch.zeros_like(scores, dtype=torch.long), owners)
    return Sighting(torch.full((len(images), 1, side, side), 5.0), instances, Objects(features, boxes, scores))


LEFT: Box = (0.0, 0.25, 0.5, 0.75)
RIGHT: Box = (0.5, 0.0, 1.0, 0.5)
SPECK: Box = (0.75, 0.75, 0.75 + LEAST_SIDE / 2, 0.75 + LEAST_SIDE / 2)


def kept(sightings: Sightings, image: int) -> set[tuple[float, ...]]:
    objects = sightings.objects
    there = objects.scores[image] > 0
    return {tuple(box) for box in objects.boxes[image][there].tolist()}


def test_one_view_is_itself() -> None:
    view = sighting(16, [[(LEFT, 0.5), (SPECK, 0.9)], [(RIGHT, 0.8)]])
    sightings = Sightings.of([view], count=64)
    assert torch.equal(sightings.objects.boxes, view.instances.boxes)
    assert sightings.slots.tolist() == [[0, 1], [0, 1]]


def test_what_the_finer_view_shows_is_not_seen_twice_however_sure_the_coarser_is() -> None:
    fine = sighting(16, [[(LEFT, 0.3)], []])
    coarse = sighting(8, [[(LEFT, 0.9), (RIGHT, 0.4)], [(LEFT, 0.6)]])
    sightings = Sightings.of([fine, coarse], count=64)
    assert kept(sightings, 0) == {LEFT, RIGHT}
    assert kept(sightings, 1) == {LEFT}
    assert sightings.objects.scores[:, :2].tolist() == [pytest.approx([0.4, 0.3]), pytest.approx([0.6, 0.0])]
    assert not sightings.objects.scores[:, 2:].any()


def test_small_objects_are_the_finest_views_alone() -> None:
    seen = Sightings.of([sighting(16, [[(SPECK, 0.2)]]), sighting(8, [[(LEFT, 0.9)]])], count=64)
    unseen = Sightings.of([sighting(16, [[(LEFT, 0.2)]]), sighting(8, [[(SPECK, 0.9)]])], count=64)
    assert kept(seen, 0) == {tuple(torch.tensor(SPECK).tolist()), LEFT}
    assert kept(unseen, 0) == {LEFT}


def test_the_least_certain_go_where_there_are_too_many() -> None:
    sightings = Sightings.of([sighting(16, [[(LEFT, 0.2)]]), sighting(8, [[(RIGHT, 0.9)]])], count=1)
    assert kept(sightings, 0) == {RIGHT}


def test_each_object_is_drawn_in_its_own_view_alone() -> None:
    sightings = Sightings.of([sighting(16, [[(LEFT, 0.3)]]), sighting(8, [[(LEFT, 0.9), (RIGHT, 0.4)]])], count=64)
    logits = torch.tensor([[3.0, 7.0, NOBODY]])  # of RIGHT, which is surer, and LEFT, seen finely and coarsely
    fine, coarse = sightings.spread(logits, NOBODY)
    assert fine.unique().tolist() == [NOBODY, 7.0]
    assert coarse.unique().tolist() == [NOBODY, 3.0]
    assert (fine[0, 0, 4:12, :8] == 7.0).all()
    assert (coarse[0, 0, :4, 4:] == 3.0).all()


def half_of(box: Box, share: float, side: int = 32) -> Tensor:
    target = torch.zeros(1, 1, side, side)
    x0, y0, x1, y1 = box
    target[0, 0, round(y0 * side) : round(y1 * side), round(x0 * side) : round((x0 + (x1 - x0) * share) * side)] = 1
    return target


def test_what_is_seen_coarsely_must_lie_more_plainly_in_a_target() -> None:
    fine, coarse = sighting(16, [[(LEFT, 0.5)]]), sighting(8, [[(LEFT, 0.5)]])
    nothing = sighting(16, [[]])
    third = half_of(LEFT, 3 / 8)
    assert Sightings.of([fine], count=64).belonging(third).item() > 1
    assert Sightings.of([nothing, coarse], count=64).belonging(third)[0, 0] < 1
    assert Sightings.of([nothing, coarse], count=64).belonging(half_of(LEFT, 0.75))[0, 0] > 1


def test_in_the_third_view_only_larger_objects_count() -> None:
    nothing = sighting(16, [[]])
    between = (0.5, 0.5, 0.5 + 1.5 * LEAST_SIDE, 0.5 + 1.5 * LEAST_SIDE)
    second = Sightings.of([nothing, sighting(8, [[(between, 0.9)]]), sighting(4, [[]])], count=64)
    third = Sightings.of([nothing, sighting(8, [[]]), sighting(4, [[(between, 0.9), (LEFT, 0.5)]])], count=64)
    assert kept(second, 0) == {tuple(torch.tensor(between).tolist())}
    assert kept(third, 0) == {LEFT}


def test_a_part_lies_in_its_whole_and_not_the_other_way_round() -> None:
    part, beside = (0.1, 0.3, 0.3, 0.6), (0.4, 0.3, 0.7, 0.6)
    objects = Sightings.of([sighting(16, [[(LEFT, 0.9), (part, 0.8), (beside, 0.7)], [(LEFT, 0.5)]])], count=64).objects
    parts = objects.parts()
    assert parts[0].int().tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert parts[1].int().tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]  # what is not there is part of nothing
