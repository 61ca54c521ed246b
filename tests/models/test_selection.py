"""The selector: phrases choose among objects by where they are."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from refersat.models.candidates import Survey
from refersat.models.selection import CHOSEN, NOT_MEANT, NOWHERE, InstanceSelector, Selection, both
from refersat.training.muon import Muon
from refersat.training.parameters import parameter_groups

SIDE, WIDTH, VOCABULARY = 24, 8, 12
BEGIN, END, LEFT, RIGHT, ALL = 0, 2, 5, 6, 7


@pytest.fixture
def selector() -> InstanceSelector:
    torch.manual_seed(0)
    selector = InstanceSelector(WIDTH, vocabulary=VOCABULARY, longest=8)
    for module in selector.modules():  # as RS2Sam2Model begins
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)
    # It says "object" where the first feature is high.
    with torch.no_grad():
        selector.objectness.weight.zero_()
        selector.objectness.weight[0, 0] = 4.0
        selector.objectness.bias.fill_(-2.0)
    return selector


def survey_of(places: list[list[tuple[int, int]]]) -> Survey:
    """Images with objects of 4 x 4 cells at these corners."""
    features = torch.zeros(len(places), WIDTH, SIDE, SIDE)
    features[:, 1] = 1.0
    edges = torch.ones(len(places), 4, SIDE, SIDE)
    grid = torch.arange(4) + 0.5
    y, x = torch.meshgrid(grid, grid, indexing="ij")
    for number, corners in enumerate(places):
        for x0, y0 in corners:
            features[number, 0, y0 : y0 + 4, x0 : x0 + 4] = 3.0
            edges[number, :, y0 : y0 + 4, x0 : x0 + 4] = torch.stack([x, y, 4 - x, 4 - y])
    return Survey(features, edges)


def phrases(*words: int) -> tuple[Tensor, Tensor]:
    ids = torch.tensor([[BEGIN, word, END] for word in words])
    return ids, torch.ones_like(ids, dtype=torch.bool)


def test_it_learns_to_choose_by_place(selector: InstanceSelector) -> None:
    generator = torch.Generator().manual_seed(0)
    optimizer = Muon(parameter_groups(selector, 0.0), learning_rate=2e-3)

    def a_batch() -> tuple[Selection, Tensor]:
        columns = torch.stack([torch.randperm(5, generator=generator)[:2] for _ in range(8)]) * 5
        rows = torch.randint(0, SIDE - 4, (8, 2), generator=generator)
        places = [list(zip(xs, ys, strict=True)) for xs, ys in zip(columns.tolist(), rows.tolist(), strict=True)]
        selection = selector([survey_of(places)], *phrases(*[LEFT, RIGHT, ALL] * 8))
        targets = torch.zeros(24, 1, SIDE, SIDE)
        for image, corners in enumerate(places):
            ordered = sorted(corners)
            for phrase, meant in enumerate((ordered[:1], ordered[1:], ordered)):
                for x0, y0 in meant:
                    targets[3 * image + phrase, 0, y0 : y0 + 4, x0 : x0 + 4] = 1.0
        return selection, selection.meant(targets)

    for _ in range(60):
        selection, meant = a_batch()
        optimizer.zero_grad()
        F.binary_cross_entropy_with_logits(selection.logits, meant.float(), reduction="none").sum(1).mean().backward()
        optimizer.step()
    with torch.no_grad():
        selection, meant = a_batch()
    assert meant.sum(1).tolist() == [1, 1, 2] * 8
    right = ((selection.logits > 0) == meant).all(1).float().mean().item()
    assert right > 0.9, right


@torch.no_grad()
def test_an_answer_depends_neither_on_padding_nor_on_other_phrases_nor_images(selector: InstanceSelector) -> None:
    places = [[(0, 0), (10, 10)], [(3, 8)], []]
    ids, mask = phrases(LEFT, RIGHT, ALL, LEFT, ALL, RIGHT)
    padded = F.pad(ids, (0, 3), value=3), F.pad(mask, (0, 3), value=False)
    together = selector([survey_of(places)], *padded)
    for image in range(3):
        for phrase in (2 * image, 2 * image + 1):
            alone = selector([survey_of([places[image]])], ids[[phrase]], mask[[phrase]])
            count = alone.logits.shape[1]  # the others may have more objects
            torch.testing.assert_close(together.logits[[phrase], :count], alone.logits, atol=1e-5, rtol=1e-4)
            assert (together.logits[phrase, count:] == NOT_MEANT).all()


@torch.no_grad()
def test_where_nothing_that_is_meant_is_drawn_boxes_are(selector: InstanceSelector) -> None:
    found = selector([survey_of([[(0, 0), (10, 10)]])], *phrases(LEFT, RIGHT))
    boxes = found.sightings.objects.boxes[0]
    first = int(boxes[:, 0].argmin())
    logits = torch.full_like(found.logits, -9.0)
    logits[0, first] = 5.0  # the second phrase means nothing for sure: the likeliest is outlined in any case
    selection = Selection(found.sightings, logits)
    nothing = torch.full((2, 1, SIDE, SIDE), -9.0)
    outlined = selection.outlined([nothing], 0.2, SIDE)
    assert outlined.shape == (2, 1, SIDE, SIDE)
    inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    inside[:4, :4] = True
    drawn = outlined[0, 0] > 0
    assert not drawn[~inside].any()
    assert 12 <= drawn.sum() <= 16  # its corners are round
    assert (outlined[1] > 0).any()
    # What is drawn of them from so much on is left as it is.
    half = nothing.clone()
    half[:, :, :2] = 9.0
    assert (selection.outlined([half], 0.2, SIDE)[0] < 0).all()
    assert (selection.outlined([half], 0.6, SIDE)[0, 0] > 0)[inside].sum() >= 12
    # One of several that are meant is enough; one that is not meant does not count.
    logits[:] = 5.0
    assert (Selection(found.sightings, logits).outlined([half], 0.2, SIDE) < 0).all()
    logits[:, first] = -9.0
    # A phrase whose objects are drawn is left alone, whoever else is in the batch.
    logits[1] = 5.0
    mixed = Selection(found.sightings, logits).outlined([half], 0.2, SIDE)
    assert (mixed[1] == NOWHERE).all()
    assert mixed[0].isfinite().all()
    logits[1, first] = -9.0
    elsewhere = Selection(found.sightings, logits).outlined([half], 0.2, SIDE) > 0
    assert elsewhere.any()
    assert not elsewhere[:, :, inside].any()


@torch.no_grad()
def test_without_an_object_nothing_is_meant(selector: InstanceSelector) -> None:
    selection = selector([survey_of([[]])], *phrases(LEFT))
    assert (selection.logits == NOT_MEANT).all()
    assert (drawn_cells(selection) == NOT_MEANT).all()


def test_choosing_does_not_teach_what_objects_look_like(selector: InstanceSelector) -> None:
    survey = survey_of([[(0, 0), (10, 10)]])
    survey.features.requires_grad_()
    selection = selector([survey], *phrases(LEFT))
    (selection.logits.sum() + selection.objectness.sum()).backward()
    assert survey.features.grad is None
    silent = [name for name, parameter in selector.named_parameters() if parameter.grad is None]
    assert not silent


@torch.no_grad()
def test_meant_is_what_lies_mostly_in_the_target_at_any_resolution(selector: InstanceSelector) -> None:
    selection = selector([survey_of([[(0, 0), (10, 10)]])], *phrases(LEFT, RIGHT))
    targets = torch.zeros(2, 1, 4 * SIDE, 4 * SIDE)
    targets[0, 0, 0:16, 0:8] = 1.0  # half of the first object
    targets[1, 0, 40:56, 40:43] = 1.0  # less than a fifth of the second
    meant = selection.meant(targets)
    assert meant.sum(1).tolist() == [1, 0]
    assert torch.equal(meant, selection.meant(F.avg_pool2d(targets, 4)))


@given(st.floats(-30, 30), st.floats(-30, 30))
def test_both_is_the_product_of_probabilities(one: float, other: float) -> None:
    told = both(torch.tensor([one], dtype=torch.float64), torch.tensor([other], dtype=torch.float64)).item()
    product = math.exp(-one) + math.exp(-other) + math.exp(-one - other)
    assert told == pytest.approx(-math.log(product), rel=1e-6, abs=1e-6)


def drawn_cells(selection: Selection) -> Tensor:
    """Logits (B, 1, h, w) of the cells of what is drawn in the only view."""
    (cells,) = selection.sightings.spread(selection.to_draw(), NOT_MEANT)
    return cells


@torch.no_grad()
def test_the_likeliest_object_is_drawn_however_unlikely(selector: InstanceSelector) -> None:
    corners = [(0, 0), (10, 10), (18, 2)]
    selection = selector([survey_of([corners, []])], *phrases(LEFT, RIGHT))
    unlikely = selection.logits.clone()
    unlikely[0, :3] = torch.tensor([-6.0, -3.0, -9.0])
    cells = drawn_cells(replace(selection, logits=unlikely))
    drawn = [cells[0, 0, y0, x0].item() for x0, y0 in sorted(corners)]
    x, y = selection.sightings.objects.boxes[0, 1, :2] * SIDE
    assert cells[0].max() == CHOSEN == cells[0, 0, int(y.round()), int(x.round())]
    assert sorted(drawn) == [CHOSEN - 6, CHOSEN - 3, CHOSEN]
    assert (cells[1] == NOT_MEANT).all()
    sure = replace(selection, logits=unlikely + 20)
    assert torch.equal(drawn_cells(sure)[0].unique()[-3:], torch.tensor([11.0, 14.0, 17.0]))
