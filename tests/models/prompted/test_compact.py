"""What the compact SAM adds to other promptable networks: several images at once, points alone, earlier masks."""

from __future__ import annotations

import pytest
import torch

from refersat.models.filled_boxes import filling
from refersat.models.prompted.compact import CompactSamConfig, CompactSamModel
from tests.models.tiny_eye import eye_model_config

BOXES = torch.tensor([[0.1, 0.2, 0.5, 0.7], [0.3, 0.0, 1.0, 0.9], [0.6, 0.6, 0.7, 0.8], [0.0, 0.0, 0.5, 0.5]])
POINTS = torch.tensor([[0.3, 0.4], [0.7, 0.3], [0.65, 0.7], [0.2, 0.2]])


@pytest.fixture(scope="module")
def model() -> CompactSamModel:
    torch.manual_seed(0)
    sam = CompactSamModel(CompactSamConfig(eye=eye_model_config().to_dict(), hidden_size=32, feed_forward=32)).eval()
    with torch.no_grad():
        for parameter in sam.parameters():
            parameter += torch.randn_like(parameter) * 0.1
    return sam


@torch.no_grad()
def test_images_and_prompts_do_not_depend_on_each_other(model: CompactSamModel) -> None:
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    earlier = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(1))
    levels = model.levels(model.eye(pixels))
    for masks in (None, earlier):
        together = model.draw(levels, boxes=BOXES, points=POINTS, masks=masks)
        assert together.logits.shape == (4, 16, 16)
        assert ((together.ious >= 0) & (together.ious <= 1)).all()
        for number in range(4):
            mine, own = slice(number, number + 1), tuple(level[number // 2][None] for level in levels)
            alone = model.draw(
                own, boxes=BOXES[mine], points=POINTS[mine], masks=None if masks is None else masks[mine]
            )
            torch.testing.assert_close(alone.logits, together.logits[mine], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_every_prompt_matters(model: CompactSamModel) -> None:
    levels = model.levels(model.eye(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))))
    masks = torch.randn(1, 16, 16, generator=torch.Generator().manual_seed(1)) * 5
    answers = [
        model.draw(levels, boxes=BOXES[:1]).logits,
        model.draw(levels, boxes=BOXES[1:2]).logits,
        model.draw(levels, points=POINTS[:1]).logits,
        model.draw(levels, boxes=BOXES[:1], points=POINTS[:1]).logits,
        model.draw(levels, boxes=BOXES[:1], masks=masks).logits,
    ]
    for number, one in enumerate(answers):
        assert all(not torch.allclose(one, other, atol=1e-3) for other in answers[:number])
    with pytest.raises(ValueError, match="a box, a point, or both"):
        model.draw(levels, masks=masks)


@torch.no_grad()
def test_a_fresh_one_fills_the_box() -> None:
    torch.manual_seed(0)
    sam = CompactSamModel(CompactSamConfig(eye=eye_model_config().to_dict(), hidden_size=32, feed_forward=32)).eval()
    levels = sam.levels(sam.eye(torch.randn(1, 3, 64, 64)))
    mask = sam.draw(levels, boxes=torch.tensor([[0.25, 0.25, 0.75, 0.5]])).logits[0] > 0
    assert mask[5:7, 5:11].all()
    assert not mask[:4].any()
    assert not mask[:, 12:].any()
    assert sam.draw(levels, points=torch.tensor([[0.5, 0.5]])).logits[0].argmax() in (
        7 * 16 + 7,
        7 * 16 + 8,
        8 * 16 + 8,
    )


def test_what_fills_a_box() -> None:
    logits = filling(torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]]), 16)
    assert logits.shape == (2, 16, 16)
    assert logits[0, 8, 8] > 5
    assert logits[1].isfinite().all()
    assert logits[1, 0, 0] == -12


def test_its_width_fits_its_heads() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        CompactSamConfig(hidden_size=40)
