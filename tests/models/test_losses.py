"""The losses against their definitions, written out naively."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from refersat.models.losses import (
    CLASS_WEIGHTS,
    SOFT_SCALE_FLOOR,
    boundary,
    cross_entropy,
    dice,
    edge_map,
    foreground_probability,
)

Maps = tuple[Tensor, Tensor, Tensor]


@st.composite
def maps(draw: st.DrawFn) -> Maps:
    """Logits (B, 1, H, W), target of 0 and 1 likewise, text weight (B,), in double precision."""
    batch, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 7)), draw(st.integers(1, 7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    share = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))  # empty and full targets too
    shape = (batch, 1, height, width)
    logits = draw(st.sampled_from([0.1, 3.0, 30.0])) * torch.randn(shape, generator=generator, dtype=torch.float64)
    target = (torch.rand(shape, generator=generator, dtype=torch.float64) < share).double()
    return logits, target, torch.randn(batch, generator=generator, dtype=torch.float64)


@pytest.fixture
def pair() -> Maps:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn((2, 1, 8, 8), generator=generator, requires_grad=True)
    target = (torch.rand((2, 1, 8, 8), generator=generator) < 0.3).float()
    return logits, target, torch.tensor([0.7, -1.2], requires_grad=True)


def two_classes(logits: Tensor) -> Tensor:
    """The released two-class map [1 - p, p]: (B, 2, H, W)."""
    return torch.cat([1 - logits, logits], dim=1)


@given(maps())
@settings(deadline=None, max_examples=50)
def test_foreground_probability_is_the_softmax_of_the_two_classes(example: Maps) -> None:
    logits, _, _ = example
    expected = two_classes(logits).softmax(dim=1)[:, 1:]
    torch.testing.assert_close(foreground_probability(logits), expected)


def test_the_decision_changes_at_a_logit_of_one_half() -> None:
    below, at, above = foreground_probability(torch.tensor([0.499, 0.5, 0.501])).tolist()
    assert below < at == 0.5 < above


@given(maps())
@settings(deadline=None, max_examples=50)
def test_cross_entropy_is_that_of_torch_on_two_classes(example: Maps) -> None:
    logits, target, _ = example
    weight = torch.tensor(CLASS_WEIGHTS, dtype=torch.float64)
    for index, loss in enumerate(cross_entropy(logits, target)):
        row = slice(index, index + 1)
        expected = F.cross_entropy(two_classes(logits[row]), target[row, 0].long(), weight=weight)
        torch.testing.assert_close(loss, expected)


@given(maps())
@settings(deadline=None, max_examples=50)
def test_dice_is_the_mean_over_both_classes(example: Maps) -> None:
    logits, target, _ = example
    smooth = 1e-6
    for index, loss in enumerate(dice(logits, target)):
        probability = two_classes(logits)[index].softmax(dim=0)
        truth = torch.stack([1 - target[index, 0], target[index, 0]])
        terms = []
        for p, t in zip(probability, truth, strict=True):
            overlap = sum(a * b for a, b in zip(p.flatten().tolist(), t.flatten().tolist(), strict=True))
            terms.append(1 - (2 * overlap + smooth) / (p.sum().item() + t.sum().item() + smooth))
        assert loss.item() == pytest.approx(sum(terms) / 2, abs=1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_perfect_answer_costs_nothing(value: float) -> None:
    target = torch.full((1, 1, 4, 4), value)
    target[..., :2] = 1 - value
    logits = 40 * target - 20
    assert dice(logits, target).item() == pytest.approx(0, abs=1e-5)
    assert cross_entropy(logits, target).item() == pytest.approx(0, abs=1e-5)
    assert boundary(logits, target, torch.ones(1), kind="released").item() == 0
    assert dice(-logits, target).item() == pytest.approx(1, abs=1e-5)


@given(maps())
@settings(deadline=None, max_examples=50)
def test_edges_are_differences_to_the_upper_and_left_neighbour(example: Maps) -> None:
    mask, _, _ = example
    expected = torch.zeros_like(mask)
    batch, _, height, width = mask.shape
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                here = mask[b, 0, i, j]
                if i > 0:
                    expected[b, 0, i, j] += (here - mask[b, 0, i - 1, j]).abs()
                if j > 0:
                    expected[b, 0, i, j] += (here - mask[b, 0, i, j - 1]).abs()
    torch.testing.assert_close(edge_map(mask), expected)


@given(maps())
@settings(deadline=None, max_examples=50)
def test_the_released_boundary_compares_edges_of_logits_above_zero(example: Maps) -> None:
    logits, target, weight = example
    # As written in the paper: both edge maps are multiplied by the scalar, then compared.
    scale = weight.view(-1, 1, 1, 1)
    difference = scale * edge_map((logits > 0).double()) - scale * edge_map(target)
    expected = difference.square().mean(dim=(1, 2, 3))
    torch.testing.assert_close(boundary(logits, target, weight, kind="released"), expected)


def test_the_hard_boundary_lies_at_zero_and_not_at_the_decision() -> None:
    logits = torch.tensor([[0.4, -0.4]]).view(1, 1, 1, 2)
    edge = torch.tensor([[1.0, 0.0]]).view(1, 1, 1, 2)
    assert boundary(logits, edge, torch.ones(1), kind="released").item() == 0
    assert boundary(logits, torch.zeros_like(edge), torch.ones(1), kind="released").item() > 0


def test_the_released_boundary_moves_the_scalar_only(pair: Maps) -> None:
    logits, target, weight = pair
    boundary(logits, target, weight, kind="released").sum().backward()
    assert logits.grad is None or not logits.grad.any()
    # Downhill is towards zero, for a scalar of either sign: what `soft` is there to avoid.
    assert weight.grad is not None
    assert (weight.grad * weight.detach() > 0).all()


def test_the_soft_boundary_moves_the_mask(pair: Maps) -> None:
    logits, target, weight = pair
    before = boundary(logits, target, weight, kind="soft")
    before.sum().backward()
    assert logits.grad is not None
    assert weight.grad is not None
    assert logits.grad.flatten(1).any(dim=1).all()
    after = boundary(logits.detach() - 0.1 * logits.grad, target, weight.detach(), kind="soft")
    assert (after < before).all()


def test_the_soft_boundary_cannot_be_switched_off_by_the_scalar(pair: Maps) -> None:
    logits, target, _ = pair
    logits = logits.detach()
    plain = (edge_map(foreground_probability(logits)) - edge_map(target)).square().mean(dim=(1, 2, 3))
    for scalar in (-1e4, -10.0, 0.0):
        loss = boundary(logits, target, torch.full((2,), scalar), kind="soft")
        assert (loss >= SOFT_SCALE_FLOOR**2 * plain).all()
    assert plain.min() > 0


@pytest.mark.parametrize(
    "loss",
    [
        lambda logits, target, _: cross_entropy(logits, target),
        lambda logits, target, _: dice(logits, target),
        lambda logits, target, weight: boundary(logits, target, weight, kind="released"),
        lambda logits, target, weight: boundary(logits, target, weight, kind="soft"),
    ],
    ids=["cross_entropy", "dice", "boundary released", "boundary soft"],
)
def test_samples_of_a_batch_do_not_meet(loss: Callable[[Tensor, Tensor, Tensor], Tensor], pair: Maps) -> None:
    together = loss(*pair)
    assert together.shape == (2,)
    for index in range(2):
        alone = loss(*(part[index : index + 1] for part in pair))
        torch.testing.assert_close(together[index : index + 1], alone)


def test_half_precision_logits_give_finite_losses(pair: Maps) -> None:
    logits, target, weight = (part.detach().bfloat16() for part in pair)
    losses = [cross_entropy(logits, target), dice(logits, target), boundary(logits, target, weight, kind="soft")]
    assert all(loss.isfinite().all() for loss in losses)
