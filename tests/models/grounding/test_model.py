"""What every grounder keeps to: shapes, gradients everywhere, the same in company as alone, the same when saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from refersat.models.grounding.levels import Levels
from refersat.models.grounding.model import GroundingConfig, GroundingModel, GroundingOutput
from tests.models.tiny_grounder import tiny_grounder_config

IDS = torch.tensor([[0, 11, 12, 13, 2, 3], [0, 21, 2, 3, 3, 3], [0, 31, 32, 33, 34, 2]])
MASK = torch.tensor([[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]]).bool()
VALID = torch.tensor([[1.0, 0.6], [1.0, 1.0], [0.3, 1.0]])


def images(count: int = 3, side: int = 64) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(2))


def answer(model: GroundingModel, pixel_values: Tensor, valid: Tensor, ids: Tensor, mask: Tensor) -> GroundingOutput:
    with torch.inference_mode():
        return model(pixel_values, valid, ids, mask)


@pytest.mark.parametrize("side", [64, 96])
def test_shapes(grounder_model: GroundingModel, side: int) -> None:
    output = answer(grounder_model, images(side=side), VALID, IDS, MASK)
    assert output.scores.shape == (3,)
    assert output.boxes.shape == (3, 4)
    assert output.query_logits.shape == (2, 3, 4)
    assert output.query_boxes.shape == (2, 3, 4, 4)
    widths = grounder_model.config.image_widths
    expected = [
        (3, width, side // stride, side // stride) for width, stride in zip(widths, (4, 8, 16, 32), strict=True)
    ]
    assert [tuple(each.shape) for each in output.image_maps] == expected
    assert ((output.boxes >= 0) & (output.boxes <= 1)).all()
    assert (output.boxes[:, :2] <= output.boxes[:, 2:]).all()


def test_the_answer_is_the_best_query_of_the_last_layer(grounder_model: GroundingModel) -> None:
    output = answer(grounder_model, images(), VALID, IDS, MASK)
    best = output.query_logits[-1].argmax(-1)
    torch.testing.assert_close(output.scores, output.query_logits[-1].amax(-1).sigmoid())
    x, y, width, height = output.query_boxes[-1][torch.arange(3), best].T
    corners = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], -1).clamp(0, 1)
    torch.testing.assert_close(output.boxes, corners)


def test_a_padded_batch_gives_what_its_samples_give(grounder_model: GroundingModel) -> None:
    together = answer(grounder_model, images(), VALID, IDS, MASK)
    for number, length in enumerate(MASK.sum(1).tolist()):
        one = slice(number, number + 1)
        alone = answer(grounder_model, images()[one], VALID[one], IDS[one, :length], MASK[one, :length])
        for name in ("scores", "boxes"):
            torch.testing.assert_close(together[name][one], alone[name], atol=1e-5, rtol=1e-4)


def test_phrases_that_share_an_image_get_what_each_gets_with_its_own(grounder_model: GroundingModel) -> None:
    ids, mask = IDS[[0, 1, 2, 0]], MASK[[0, 1, 2, 0]]
    shared = answer(grounder_model, images(2), VALID[:2], ids, mask)
    own = answer(grounder_model, images(2)[[0, 0, 1, 1]], VALID[[0, 0, 1, 1]], ids, mask)
    torch.testing.assert_close(shared.boxes, own.boxes, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="3 phrases cannot be shared evenly by 2 images"):
        answer(grounder_model, images(2), VALID[:2], IDS, MASK)


def test_what_fills_the_letterbox_up_says_nothing(grounder_model: GroundingModel) -> None:
    noise = torch.Generator().manual_seed(4)
    maps = [torch.randn(3, 32, side, side, generator=noise) for side in (8, 4, 2, 1)]
    levels = Levels.of(maps, VALID)
    assert levels.inside.sum(1).tolist() == [5 * 8 + 2 * 4 + 1 * 2 + 1, 85, 2 * 8 + 4 + 2 + 1]
    spoilt = replace(levels, tokens=levels.tokens.masked_fill(~levels.inside[..., None], 9.0))
    text = torch.randn(3, 6, 32, generator=noise)
    found = []
    with torch.inference_mode():
        for each in (levels, spoilt):
            aligned, enhanced = grounder_model.alignment(each, text, ~MASK)
            found.append(grounder_model.transformer(aligned, *grounder_model.queries(enhanced[:, 0])))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_image_and_phrase_change_the_answer(grounder_model: GroundingModel) -> None:
    first = answer(grounder_model, images(), VALID, IDS, MASK)
    other_image = answer(grounder_model, images().flip(-1), VALID, IDS, MASK)
    other_phrase = answer(grounder_model, images(), VALID, IDS.roll(1, 0), MASK.roll(1, 0))
    for other in (other_image, other_phrase):
        assert (first.query_logits - other.query_logits).abs().amax() > 1e-4


def test_gradients_reach_every_parameter(grounder_model: GroundingModel) -> None:
    grounder_model.zero_grad()
    output = grounder_model(images(), VALID, IDS, MASK)
    noise = torch.Generator().manual_seed(3)
    weights = [torch.randn(each.shape, generator=noise) for each in (output.query_logits, output.query_boxes)]
    ((output.query_logits * weights[0]).sum() + (output.query_boxes * weights[1]).sum()).backward()
    silent = [
        name
        for name, parameter in grounder_model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum() > 0
    ]
    assert silent == []
    grounder_model.zero_grad()


def test_saving_and_loading_changes_no_bit(grounder_model: GroundingModel, tmp_path: Path) -> None:
    before = answer(grounder_model, images(), VALID, IDS, MASK)
    grounder_model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as weights:
        assert set(weights.keys()) == set(grounder_model.state_dict())
    loaded = GroundingModel.from_pretrained(tmp_path).eval()
    after = answer(loaded, images(), VALID, IDS, MASK)
    for name in ("query_logits", "query_boxes"):
        assert torch.equal(before[name], after[name])
    again = GroundingConfig.from_dict(json.loads(grounder_model.config.to_json_string(use_diff=False)))
    assert again.to_dict() == grounder_model.config.to_dict()


def test_fresh_boxes_are_an_eighth_and_fresh_scores_low(make_grounder: Callable[..., GroundingModel]) -> None:
    output = answer(make_grounder(stirred=False), images(), VALID, IDS, MASK)
    assert output.query_boxes[0, :, :, 2:].sub(0.1192).abs().amax() < 1e-3
    assert output.scores.amax() < 0.2
    centres = output.query_boxes[0, 0, :, :2]
    assert (centres[:, None] - centres).abs().sum(-1)[~torch.eye(4, dtype=torch.bool)].amin() > 1e-3


def test_boxes_move_from_layer_to_layer(make_grounder: Callable[..., GroundingModel]) -> None:
    model = make_grounder()
    with torch.no_grad():
        last = model.transformer.decoder.bbox_embed[1].layers[-1]
        last.weight.zero_()
        last.bias.zero_()
    first, second = answer(model, images(), VALID, IDS, MASK).query_boxes
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-3)
    with torch.no_grad():
        last.bias[0] = 1.0
    first, second = answer(model, images(), VALID, IDS, MASK).query_boxes
    torch.testing.assert_close(torch.logit(second[..., 0]), torch.logit(first[..., 0]) + 1, atol=1e-3, rtol=1e-3)


def test_bfloat16_answers_much_alike(make_grounder: Callable[..., GroundingModel]) -> None:
    model = make_grounder()
    exact = answer(model, images(), VALID, IDS, MASK)
    with torch.autocast("cpu", torch.bfloat16):
        rough = answer(model, images(), VALID, IDS, MASK)
    assert (exact.query_boxes - rough.query_boxes).abs().amax() < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 100}, "image_size must be a multiple of 32, not 100"),
        ({"hidden_size": 48}, "hidden_size must be a multiple of 32"),
        ({"image_widths": [8, 8, 8]}, "image_widths must be 4 positive numbers"),
        ({"image_network": "vgg"}, "image_network must be one of resnet, convolutions, eye, not vgg"),
        ({"queries": 0}, "queries must be at least 1"),
        ({"text_width": 17}, "text_width must be even"),
    ],
)
def test_impossible_sizes_are_told(changes: dict[str, object], message: str) -> None:
    with pytest.raises(Exception, match=message):
        tiny_grounder_config(**changes)


def test_sizes() -> None:
    with torch.device("meta"):
        paper, built_in = GroundingModel(GroundingConfig.lqvg()), GroundingModel(GroundingConfig.built_in())
    config = paper.config
    assert (config.image_size, config.hidden_size, config.queries) == (800, 256, 10)
    assert (config.encoder_layers, config.decoder_layers, config.heads, config.points) == (4, 4, 8, 4)
    assert sum(parameter.numel() for parameter in built_in.parameters()) < 8_000_000
    parts = {"image_network": 23_454_912, "text_network": 124_055_040}  # ResNet-50 and RoBERTa base without heads
    for name, size in parts.items():
        assert sum(parameter.numel() for parameter in getattr(paper, name).parameters()) == pytest.approx(
            size, rel=0.01
        )
