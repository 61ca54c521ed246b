"""The refiner: it corrects what was drawn, in pixels, and each mask by itself."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.models.mask_refiner import MaskRefiner
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from tests.models.tiny_rs2sam2 import CONFIGURATIONS, IDS, TINY, answer, make_model, views

WIDTH = 6


@pytest.fixture(scope="module")
def refiner() -> MaskRefiner:
    torch.manual_seed(0)
    return MaskRefiner(5, WIDTH).eval()


def test_a_fresh_one_leaves_masks_as_they_are_drawn() -> None:
    config = RS2Sam2Config(**{**TINY, **CONFIGURATIONS["refiner"]})
    torch.manual_seed(0)
    output = answer(RS2Sam2Model(config).eval())
    assert output.logits is not None
    torch.testing.assert_close(output.logits, output.decoded_logits, rtol=1e-5, atol=1e-5)


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
@settings(max_examples=15, deadline=None)
@torch.no_grad()
def test_each_mask_is_drawn_by_itself_at_any_size(
    refiner: MaskRefiner, height: int, width: int, images: int, phrases: int
) -> None:
    generator = torch.Generator().manual_seed(height)
    pixels = torch.randn(images, 3, 16 * height, 16 * width, generator=generator)
    features = torch.randn(images, 5, 4 * height, 4 * width, generator=generator)
    drawn = 5 * torch.randn(images * phrases, 1, 4 * height, 4 * width, generator=generator)
    together = refiner(drawn, refiner.look(pixels, features))
    assert together.shape == (images * phrases, 1, 16 * height, 16 * width)
    for number in range(images * phrases):
        image = slice(number // phrases, number // phrases + 1)
        alone = refiner(drawn[number : number + 1], refiner.look(pixels[image], features[image]))
        torch.testing.assert_close(together[number : number + 1], alone, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_what_is_far_away_changes_nothing(refiner: MaskRefiner) -> None:
    """The refiner follows edges; what is meant has been decided before."""
    pixels, features = torch.zeros(1, 3, 128, 256), torch.zeros(1, 5, 32, 64)
    drawn = torch.full((1, 1, 32, 64), -4.0)
    plain = refiner(drawn, refiner.look(pixels, features))
    pixels[..., :8], features[..., :2], drawn[..., :2] = 3.0, 2.0, 6.0
    changed = refiner(drawn, refiner.look(pixels, features)) != plain
    assert changed[..., :16].any()
    assert not changed[..., 64:].any()


@torch.no_grad()
def test_only_edges_move(refiner: MaskRefiner) -> None:
    drawn = torch.full((1, 1, 32, 32), -4.0)
    drawn[..., 4:28, 4:28] = 0.1  # faintly
    pixels, features = torch.randn(1, 3, 128, 128), torch.randn(1, 5, 32, 32)
    refined = refiner(drawn, refiner.look(pixels, features))
    plain = F.interpolate(drawn, scale_factor=4, mode="bilinear")
    assert torch.equal(refined[..., 28:-28, 28:-28], plain[..., 28:-28, 28:-28])
    assert torch.equal(refined[..., :8, :], plain[..., :8, :])
    assert not torch.equal(refined[..., 12:28, 28:-28], plain[..., 12:28, 28:-28])


@torch.no_grad()
def test_decisions_need_not_be_learned_twice() -> None:
    """The coarse mask of a refined model is that of the same model without a refiner."""
    refined = make_model(**CONFIGURATIONS["two views, refined"])
    coarse = make_model(**CONFIGURATIONS["two views"])
    coarse.load_state_dict({n: v for n, v in refined.state_dict().items() if not n.startswith("refiner.")})
    one, other = (answer(model, IDS, images=views(3)) for model in (refined, coarse))
    assert one.low_res_logits is not None
    assert other.low_res_logits is not None
    assert one.logits is not None
    assert other.logits is not None
    assert torch.equal(one.low_res_logits, other.low_res_logits)
    assert not torch.equal(one.logits, other.logits)


def test_it_needs_a_survey() -> None:
    with pytest.raises(ValueError, match="refiner_width needs a candidate_width"):
        RS2Sam2Config(**{**TINY, "refiner_width": 8})
    with pytest.raises(ValueError, match="must be a width or 0"):
        RS2Sam2Config(**{**TINY, "candidate_width": 8, "fusion_from_block": 4, "refiner_width": -1})
