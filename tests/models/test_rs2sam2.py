"""What each switch of RS2-SAM 2 does, and the sizes of its configurations."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from refersat.models.beit3 import UNKNOWN_TOKEN, UnionFeatures
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from tests.models.tiny_rs2sam2 import (
    CONFIGURATIONS,
    IDS,
    TINY,
    answer,
    make_model,
    numbers,
)


@pytest.fixture(scope="module")
def released() -> RS2Sam2Model:
    return make_model()


REMOVED = {
    "no block fusion": [".fusion."],
    "linear block fusion": [
        ".fusion.text_down.",
        ".fusion.image_from_text.",
        ".fusion.text_from_image.",
        ".fusion.text_up.",
    ],
    "uni block fusion": [".fusion.text_from_image.", ".fusion.text_up."],
    "no encoder fusion": ["encoder_fusion."],
    "no fusion": [".fusion.", "encoder_fusion."],
    "no mask prompt": ["mask_prompt."],
    "product mask prompt": ["mask_prompt.attention."],
    "no boundary scalar": ["boundary_scalar."],
    "no adapter": [".adapter."],
    "EVF-SAM 2": [".fusion.", "encoder_fusion.", "mask_prompt.", "boundary_scalar.", ".adapter.", "text_projection."],
}


@pytest.mark.parametrize("name", REMOVED)
def test_a_switch_takes_its_own_weights_away_and_no_others(name: str, released: RS2Sam2Model) -> None:
    full = set(released.state_dict())
    state = make_model(**CONFIGURATIONS[name]).state_dict()
    assert full - set(state) == {key for key in full if any(part in key for part in REMOVED[name])}
    assert set(state) < full
    with pytest.raises(RuntimeError, match="Missing key"):
        deepcopy(released).load_state_dict(state)


@pytest.mark.parametrize(
    ("changes", "reached"),
    [
        ({}, True),
        ({"encoder_fusion": False}, True),
        ({"encoder_fusion": False, "block_fusion": "uni"}, True),
        ({"block_fusion": "none"}, True),
        ({"block_fusion": "linear"}, True),
        ({"encoder_fusion": False, "block_fusion": "linear"}, False),
        ({"encoder_fusion": False, "block_fusion": "none"}, False),
    ],
)
@torch.no_grad()
def test_without_fusion_text_acts_through_the_union_encoder_only(changes: dict[str, Any], reached: bool) -> None:
    model = make_model(**changes)
    before = answer(model)

    def other_text(_: object, __: object, features: UnionFeatures) -> UnionFeatures:
        return replace(features, text=features.text + 1)

    model.union_encoder.register_forward_hook(other_text)
    after = answer(model)
    assert torch.equal(before.logits, after.logits) is not reached
    assert torch.equal(before.pseudo_mask, after.pseudo_mask)
    assert not torch.equal(before.text_weight, after.text_weight)


@pytest.mark.parametrize("first", range(7))
@torch.no_grad()
def test_blocks_before_the_first_fusion_do_not_hear_the_phrase(first: int) -> None:
    model = make_model(fusion_from_block=first)
    one, other = answer(model), answer(model, IDS.where(IDS != 9, 10))
    assert [block.fusion is None for block in model.trunk.blocks] == [index < first for index in range(7)]
    assert all(torch.equal(*maps) for maps in zip(one.image_maps, other.image_maps, strict=True))
    # The phrase reaches the coarse features through the trunk, or at least through the fusion after it.
    assert (one.image_embedding[1] - other.image_embedding[1]).abs().max() > 1e-2
    assert torch.equal(one.image_embedding[0], other.image_embedding[0])


@torch.no_grad()
def test_residual_convolutions_follow_the_blocks_of_their_stage() -> None:
    plain, model = make_model(), make_model(trunk_convolutions=[1, 0, 2, 0])
    model.load_state_dict(plain.state_dict(), strict=False)
    assert [len(block.convolutions) for block in model.trunk.blocks] == [1, 0, 0, 2, 2, 2, 0]
    for block in model.trunk.blocks:
        for convolution in block.convolutions:
            convolution.layers[-1].weight.zero_()
            convolution.layers[-1].bias.zero_()
    expected, given = numbers(answer(plain)), numbers(answer(model))
    torch.testing.assert_close(given, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_what_an_unknown_token_embeds_changes_nothing(released: RS2Sam2Model) -> None:
    model = deepcopy(released)
    before = numbers(answer(model))
    model.union_encoder.token_embed.weight[UNKNOWN_TOKEN] += 100
    after = numbers(answer(model))
    assert all(torch.equal(before[name], after[name]) for name in before)
    model.union_encoder.token_embed.weight[7] *= -1
    assert (before["logits"][0] - answer(model).logits[0]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("changes", "used"),
    [
        ({}, True),
        ({"encoder_fusion": False}, True),
        ({"block_fusion": "none"}, True),
        ({"encoder_fusion": False, "block_fusion": "none"}, False),
    ],
)
@torch.no_grad()
def test_the_fusion_layers_attend_to_unknown_tokens(changes: dict[str, Any], used: bool) -> None:
    """The union encoder hides them, yet what it puts out in their place is a token to all that follows."""
    model = make_model(**changes)
    seen: list[UnionFeatures] = []
    model.union_encoder.register_forward_hook(lambda _, __, features: seen.append(features))
    ids = torch.tensor([[0, 5, UNKNOWN_TOKEN, 2]])
    real = answer(model, ids, torch.tensor([[True] * 4]))
    padded = answer(model, ids, torch.tensor([[True, True, False, True]]))
    for part in ("cls", "visual", "text"):
        assert torch.equal(getattr(seen[0], part), getattr(seen[1], part))
    assert torch.equal(real.pseudo_mask, padded.pseudo_mask)
    assert torch.allclose(real.logits, padded.logits, atol=1e-4) is not used


@torch.no_grad()
def test_only_the_begin_token_makes_the_boundary_scalar(released: RS2Sam2Model) -> None:
    model = deepcopy(released)
    seen: list[UnionFeatures] = []
    model.union_encoder.register_forward_hook(lambda _, __, features: seen.append(features))
    output = answer(model)
    first = model.text_projection(seen[0].text)[:, 0]
    expected = (first * model.boundary_scalar.weight).sum(dim=1) + model.boundary_scalar.bias
    torch.testing.assert_close(output.text_weight, expected)


@torch.no_grad()
def test_positions_are_those_of_sam2s_prompt_encoder(released: RS2Sam2Model) -> None:
    model = deepcopy(released)
    seen: list[Tensor] = []
    assert model.encoder_fusion is not None
    model.encoder_fusion.register_forward_hook(lambda _, taken, __: seen.append(taken[1]))
    answer(model)
    assert seen[0].shape == (3, 32, 4, 4)
    for row, column in ((0, 3), (2, 1)):
        centre = torch.tensor([(column + 0.5) / 4, (row + 0.5) / 4])  # x first
        torch.testing.assert_close(seen[0][0, :, row, column], model.prompt_encoder.shared_embedding(centre))


@torch.no_grad()
def test_the_pseudo_mask_is_the_dense_prompt(released: RS2Sam2Model) -> None:
    """As a probability, at the size of SAM 2's mask prompt: four times the grid of the image embedding."""
    model = deepcopy(released)
    seen: list[Tensor] = []
    model.prompt_encoder.mask_embed.register_forward_hook(lambda _, taken, __: seen.append(taken[0]))
    output = answer(model)
    expected = torch.nn.functional.interpolate(output.pseudo_mask, size=(16, 16), mode="bilinear", antialias=True)
    torch.testing.assert_close(seen[0], expected)


@torch.no_grad()
def test_fresh_adapters_hardly_change_the_trunk() -> None:
    torch.manual_seed(4)
    adapted = RS2Sam2Model(RS2Sam2Config(**TINY)).eval()
    plain = RS2Sam2Model(RS2Sam2Config(**TINY, block_fusion="none", mlp_adapter=False)).eval()
    plain.load_state_dict({name: adapted.state_dict()[name] for name in plain.state_dict()})
    for one, other in zip(answer(adapted).features, answer(plain).features, strict=True):
        difference = (one - other).abs().mean()
        assert 0 < difference < 0.02 * other.std()


def test_a_fresh_encoder_fusion_lets_the_image_through() -> None:
    fusion = RS2Sam2Model(RS2Sam2Config(**TINY)).encoder_fusion
    assert fusion is not None
    assert (fusion.image_from_text.out_proj.bias == 1).all()


def test_fresh_weights_are_finite_and_follow_the_seed() -> None:
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        states.append(RS2Sam2Model(RS2Sam2Config(**TINY)).state_dict())
    first, again, other = states
    assert all(value.isfinite().all() for value in first.values())
    assert all(torch.equal(first[name], again[name]) for name in first)
    tables = [name for name, value in first.items() if value.ndim > 1 and "no_memory_embedding" not in name]
    assert tables
    assert [name for name in tables if torch.equal(first[name], other[name])] == []


@pytest.mark.parametrize(
    ("changes", "below", "above"),
    [({}, [0.49], [0.51]), ({"two_class_logit": False, "mask_threshold": 0.0}, [-0.01], [0.01])],
)
def test_probability_is_one_half_at_the_threshold(
    changes: dict[str, Any], below: list[float], above: list[float]
) -> None:
    model = make_model(**changes)
    assert model.probability(torch.tensor([model.config.mask_threshold])).item() == 0.5
    assert model.probability(torch.tensor(below)) < 0.5 < model.probability(torch.tensor(above))


def test_the_large_model_has_the_size_of_the_release(shapes_of: Callable[[str], dict[str, tuple[int, ...]]]) -> None:
    with torch.device("meta"):
        model = RS2Sam2Model(RS2Sam2Config.large())
    released = sum(torch.Size(shape).numel() for shape in shapes_of("keys_large").values())
    kept = sum(value.numel() for value in model.state_dict().values())
    assert round(released / 1e6, 1) == 934.8
    # The rest is SAM 2's memory for videos, which a single image never reaches.
    assert round(kept / 1e6, 1) == 927.0


def test_the_built_in_model_is_small() -> None:
    with torch.device("meta"):
        model = RS2Sam2Model(RS2Sam2Config.built_in())
    assert sum(parameter.numel() for parameter in model.parameters()) <= 15_000_000


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"image_size": 100}, "image_size must be a multiple of 32, not 100"),
        ({"image_size": 0}, "image_size must be a multiple of 32, not 0"),
        ({"union_image_size": 30}, "union_image_size 30 must be a multiple of union_patch_size 8"),
        ({"hidden_size": 36}, "hidden_size must be a multiple of 16, not 36"),
        ({"union_heads": 3}, "union_width must be a multiple of 3, not 32"),
        ({"union_width": 36}, "union_width must be a multiple of 8, not 36"),
        ({"text_positions": 17}, r"text_positions 17 must be at least max_text_length 16 \+ 2"),
        ({"trunk_widths": [16, 32, 64]}, r"trunk_widths must be 4 positive numbers, one per stage, not \[16, 32, 64\]"),
        ({"trunk_depths": [1, 2, 3, 0]}, "trunk_depths must be 4 positive numbers"),
        ({"trunk_heads": [3, 2, 4, 8]}, "trunk_widths must be a multiple of 3, not 16"),
        ({"trunk_widths": [20, 40, 80, 160]}, "trunk_widths must be a multiple of 16, not 20"),
        ({"trunk_windows": [8, 4, 7, 7]}, "trunk_windows before the last stage must be a multiple of 2, not 7"),
        ({"block_fusion": "sideways"}, "block_fusion must be one of none, linear, uni, bi, not sideways"),
        ({"presence": "hope"}, "presence must be one of object_score, mask_confidence, not hope"),
    ],
)
def test_impossible_sizes_are_refused(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RS2Sam2Config(**{**TINY, **sizes})
