"""The candidate finder: boxes from distances, marks where candidates are, and choosing objects as a whole."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from refersat.models.candidates import CandidateFinder, Candidates, Survey, _boxes
from refersat.models.hiera import ImageState

SIDE = 16
HIDDEN = 32


@pytest.fixture
def finder() -> CandidateFinder:
    torch.manual_seed(0)
    return CandidateFinder([8, 16, 24], 12, hidden=HIDDEN).eval()


def a_state(images: int = 2) -> ImageState:
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(images, SIDE // k, SIDE // k, 8 * k, generator=generator) for k in (1, 2)]
    return ImageState(torch.randn(images, SIDE // 4, SIDE // 4, 24, generator=generator), tuple(maps))


def edges_of(boxes: list[tuple[int, int, int, int]]) -> Tensor:
    """What a perfect head says of boxes (x0, y0, x1, y1) in cells, upper bounds excluded: (1, 4, SIDE, SIDE)."""
    edges = torch.zeros(1, 4, SIDE, SIDE)
    for x0, y0, x1, y1 in boxes:
        y, x = torch.meshgrid(torch.arange(y0, y1) + 0.5, torch.arange(x0, x1) + 0.5, indexing="ij")
        edges[0, :, y0:y1, x0:x1] = torch.stack([x - x0, y - y0, x1 - x, y1 - y])
    return edges


sides = st.integers(0, SIDE - 1)


@given(x=sides, y=sides, width=st.integers(1, SIDE), height=st.integers(1, SIDE))
def test_every_cell_of_an_object_tells_the_same_box(x: int, y: int, width: int, height: int) -> None:
    x1, y1 = min(SIDE, x + width), min(SIDE, y + height)
    told = _boxes(edges_of([(x, y, x1, y1)]))[0, :, y:y1, x:x1].flatten(1).T
    expected = torch.tensor([(x + x1) / 2, (y + y1) / 2, x1 - x, y1 - y]) / SIDE
    torch.testing.assert_close(told, expected.expand_as(told))


def test_an_object_is_taken_or_left_as_a_whole(finder: CandidateFinder) -> None:
    # The decoder's mask covers the middle of the left object and one corner of the right one.
    left, right = (1, 2, 7, 12), (8, 2, 14, 12)
    kinds, masks = torch.full((1, 1, SIDE, SIDE), -6.0), torch.full((1, 1, SIDE, SIDE), -4.0)
    for x0, y0, x1, y1 in (left, right):
        kinds[..., y0:y1, x0:x1] = 6.0
    masks[..., 5:9, 2:6] = 4.0
    masks[..., 2:4, 8:10] = 4.0
    survey = Survey(torch.zeros(1, 12, SIDE, SIDE), edges_of([left, right]))
    nothing = torch.zeros(1)
    chosen = finder.choose(Candidates(survey, kinds - 3, nothing, nothing, nothing), masks) > 0.5
    assert chosen[0, 0, 2:12, 1:7].all()
    assert not chosen[0, 0, 4:12, 10:14].any()
    assert not chosen[0, 0, :2].any()


def test_choosing_does_not_teach_what_kinds_look_like(finder: CandidateFinder) -> None:
    found = finder(a_state(), torch.randn(2, HIDDEN))
    masks = torch.randn(2, 1, SIDE, SIDE, requires_grad=True)
    finder.choose(found, masks).sum().backward()
    assert masks.grad is not None
    assert masks.grad.abs().sum() > 0
    assert finder.gains.grad is not None
    assert finder.query.weight.grad is None
    assert finder.edge_head.weight.grad is None


@torch.no_grad()
def test_marks_tell_how_much_and_how_large(finder: CandidateFinder) -> None:
    seen: list[Tensor] = []
    finder.marks.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    logits = torch.full((1, 1, SIDE, SIDE), -30.0)
    logits[..., 0:2, 0:4] = 30.0  # half of the first coarse cell
    survey = Survey(torch.zeros(1, 12, SIDE, SIDE), edges_of([(0, 0, 4, 2)]))
    finder._mark(survey, logits, (4, 4))
    mean, largest, x, y, width, height = seen[0][0, 0, 0].tolist()
    assert (mean, largest) == pytest.approx((0.5, 1.0))
    assert (x, y, width, height) == pytest.approx((2 / SIDE, 1 / SIDE, 4 / SIDE, 2 / SIDE), rel=1e-2)
    assert seen[0][0, 2:].abs().max() < 1e-6


@torch.no_grad()
def test_phrases_in_a_row_ask_about_their_own_image(finder: CandidateFinder) -> None:
    prompts = torch.randn(6, HIDDEN)
    together = finder(a_state(2), prompts)
    for phrase, (prompt, image) in enumerate(zip(prompts, (0, 0, 0, 1, 1, 1), strict=True)):
        whole = a_state(2)
        one = ImageState(whole.features[[image]], tuple(level[[image]] for level in whole.maps))
        alone = finder(one, prompt[None])
        for name in ("logits", "trunk_marks", "decoder_marks"):
            torch.testing.assert_close(getattr(together, name)[phrase], getattr(alone, name)[0])
    assert all((a - b).abs().max() > 1e-3 for a, b in pairwise(together.logits))


def test_every_level_of_the_trunk_reaches_the_finest_features(finder: CandidateFinder) -> None:
    state = a_state(1)
    levels = [*state.maps, state.features]
    for level in levels:
        level.requires_grad_()
    finder.survey(state).features[..., 3, 3].sum().backward()
    assert all(level.grad is not None and level.grad.abs().sum() > 0 for level in levels)
