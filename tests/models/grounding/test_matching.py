"""The matching is the cheapest, whatever the order of queries and targets; the losses of what it matches by hand."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from refersat.models.grounding.boxes import overlaps, to_corners
from refersat.models.grounding.losses import Weights, focal_terms, grounding_losses
from refersat.models.grounding.matching import match

ALL = Weights()
QUERIES, TARGETS = 5, 3
THERE = torch.ones(1, TARGETS, dtype=torch.bool)


def drawn(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Logits (1, Q), boxes (1, Q, 4) and targets (1, T, 4)."""
    noise = torch.Generator().manual_seed(seed)
    boxes, targets = (torch.rand(1, count, 4, generator=noise) * 0.5 + 0.1 for count in (QUERIES, TARGETS))
    return torch.randn(1, QUERIES, generator=noise), boxes, targets


def cost(logits: Tensor, boxes: Tensor, targets: Tensor, chosen: tuple[int, ...], weights: Weights) -> float:
    wanted, unwanted = focal_terms(logits[0])
    total = 0.0
    for query, target in zip(chosen, targets[0], strict=True):
        giou = overlaps(to_corners(boxes[0, query]), to_corners(target))[1]
        total += weights.focal * float(wanted[query] - unwanted[query])
        total += weights.box * float((boxes[0, query] - target).abs().sum()) - weights.giou * float(giou)
    return total


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([ALL, Weights(0, 1, 0), Weights(1, 0, 3)]))
def test_no_other_assignment_is_cheaper(seed: int, weights: Weights) -> None:
    logits, boxes, targets = drawn(seed)
    chosen = tuple(match(logits, boxes, targets, THERE, weights)[0].tolist())
    best = min(cost(logits, boxes, targets, other, weights) for other in permutations(range(QUERIES), TARGETS))
    assert cost(logits, boxes, targets, chosen, weights) == pytest.approx(best, abs=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(QUERIES)), st.permutations(range(TARGETS)))
def test_order_does_not_matter(seed: int, queries: list[int], targets_order: list[int]) -> None:
    logits, boxes, targets = drawn(seed)
    chosen = match(logits, boxes, targets, THERE, ALL)
    again = match(logits[:, queries], boxes[:, queries], targets[:, targets_order], THERE, ALL)
    assert torch.tensor(queries)[again[0]].tolist() == chosen[0][targets_order].tolist()
    losses = grounding_losses(logits, boxes, targets, THERE, chosen)
    others = grounding_losses(logits[:, queries], boxes[:, queries], targets[:, targets_order], THERE, again)
    for one, other in zip(losses, others, strict=True):
        torch.testing.assert_close(one, other)


def test_what_is_not_there_takes_no_query_from_what_is() -> None:
    logits, boxes, targets = drawn(1)
    targets[0, 0] = boxes[0, 2]
    there = torch.tensor([[True, False, False]])
    chosen = match(logits * 0, boxes, targets, there, ALL)
    assert chosen[0, 0] == 2
    assert len(set(chosen[0].tolist())) == TARGETS


def test_losses_by_hand() -> None:
    logits = torch.tensor([[0.0, math.log(3)]])  # scores 0.5 and 0.75
    boxes = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.5, 0.5, 0.4, 0.4]]])
    targets, there, chosen = torch.tensor([[[0.5, 0.5, 0.2, 0.4]]]), torch.tensor([[True]]), torch.tensor([[1]])
    focal, distance, giou = grounding_losses(logits, boxes, targets, there, chosen)
    wanted, unwanted = 0.25 * 0.25**2 * -math.log(0.75), 0.75 * 0.5**2 * -math.log(0.5)
    assert focal.tolist() == pytest.approx([wanted + unwanted])
    assert distance.tolist() == pytest.approx([0.2])
    assert giou.tolist() == pytest.approx([1 - 0.5])  # half of the box, and a hull that is the box


def test_a_phrase_that_names_nothing_only_lowers_scores() -> None:
    logits, boxes, targets = drawn(2)
    logits.requires_grad_()
    boxes.requires_grad_()
    nothing = torch.zeros(1, TARGETS, dtype=torch.bool)
    focal, distance, giou = grounding_losses(logits, boxes, targets, nothing, torch.tensor([[0, 1, 2]]))
    assert (float(distance), float(giou)) == (0, 0)
    (focal + distance + giou).sum().backward()
    assert (logits.grad > 0).all()
    assert (boxes.grad == 0).all()  # but there, as processes that share gradients expect
