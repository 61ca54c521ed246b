"""One contract for every configuration of RS2-SAM 2, and what each switch of its ablations does."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from parity import fill_tensor
from safetensors import safe_open
from torch import Tensor

from refersat.models.beit3 import UNKNOWN_TOKEN, UnionFeatures
from refersat.models.losses import boundary, cross_entropy, dice
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model, RS2Sam2Output
from refersat.training.parameters import freeze_idle

TINY: dict[str, Any] = {
    "image_size": 64,
    "hidden_size": 32,
    "union_image_size": 32,
    "union_patch_size": 8,
    "union_width": 32,
    "union_layers": 2,
    "union_heads": 2,
    "union_feed_forward": 48,
    "vocab_size": 40,
    "text_positions": 24,
    "max_text_length": 16,
    "trunk_widths": [16, 32, 64, 128],
    "trunk_depths": [1, 2, 3, 1],
    "trunk_heads": [1, 2, 4, 8],
    "trunk_windows": [8, 4, 14, 7],  # 14 and 7: padded with zeros
    "trunk_global_blocks": [4],
    "decoder_feed_forward": 48,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "released": {},
    "built-in": {
        "stem": "convolutional",
        "trunk_windows": [8, 8, 8, 8],
        "trunk_background": 12,
        "trunk_convolutions": [0, 1, 2, 0],
        "fusion_from_block": 4,
        "resize_antialias": True,
        "presence": "object_score",
        "presence_threshold": 0.5,
    },
    "no block fusion": {"block_fusion": "none"},
    "linear block fusion": {"block_fusion": "linear"},
    "uni block fusion": {"block_fusion": "uni"},
    "no encoder fusion": {"encoder_fusion": False},
    "no mask prompt": {"mask_prompt": "none"},
    "product mask prompt": {"mask_prompt": "product"},
    "no boundary scalar": {"boundary_scalar": False},
    "no adapter": {"mlp_adapter": False},
    "no fusion": {"block_fusion": "none", "encoder_fusion": False},
    "EVF-SAM 2": {
        "block_fusion": "none",
        "mlp_adapter": False,
        "encoder_fusion": False,
        "mask_prompt": "none",
        "boundary_scalar": False,
        "mask_threshold": 0.0,
        "two_class_logit": False,
    },
}
IDS = torch.tensor([[0, 5, UNKNOWN_TOKEN, 7, 30, 2], [0, 9, 2, 3, 3, 3], [0, UNKNOWN_TOKEN, 8, 2, 3, 3]])
LENGTHS = (6, 3, 4)
MASK = torch.tensor([[place < length for place in range(6)] for length in LENGTHS])


def make_model(**changes: Any) -> RS2Sam2Model:
    """Tiny, in evaluation mode, with weights that are large enough for every part to be seen in the answer."""
    torch.manual_seed(0)
    model = RS2Sam2Model(RS2Sam2Config(**{**TINY, **changes})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(fill_tensor(name, tuple(parameter.shape))))
    return model


def views(batch: int = len(IDS), *, size: int = 64, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, 3, size, size, generator=generator),
        torch.randn(batch, 3, 32, 32, generator=generator),
    )


def answer(
    model: RS2Sam2Model, ids: Tensor = IDS, mask: Tensor = MASK, images: tuple[Tensor, Tensor] | None = None
) -> RS2Sam2Output:
    output: RS2Sam2Output = model(*(images or views(len(ids))), ids, mask)
    return output


def numbers(output: RS2Sam2Output) -> dict[str, Tensor]:
    """All that an output holds, each map under a name of its own."""
    flat = {name: value for name, value in output.items() if isinstance(value, Tensor)}
    for name in ("features", "image_maps"):
        flat |= {f"{name} {level}": each for level, each in enumerate(output[name])}
    return flat


def training_loss(output: RS2Sam2Output, *, boundary_loss: bool) -> Tensor:
    """Every term by which a phrase can teach: mask, presence and, where there is a scalar, the boundary."""
    assert output.logits is not None
    assert output.presence_logits is not None
    target = (torch.rand(output.logits.shape, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    loss = cross_entropy(output.logits, target) + dice(output.logits, target) + output.presence_logits.square()
    if boundary_loss and output.text_weight is not None:
        loss = loss + boundary(output.logits, target, output.text_weight, kind="soft")
    return loss.sum()


def saved_numbers(model: RS2Sam2Model) -> int:
    """Runs forward and backward; how many numbers the forward kept for the backward."""
    count = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal count
        count += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = training_loss(answer(model), boundary_loss=True)
    loss.backward()
    return count


@pytest.fixture(scope="module")
def released() -> RS2Sam2Model:
    return make_model()


@pytest.fixture(scope="module", params=CONFIGURATIONS)
def model(request: pytest.FixtureRequest) -> RS2Sam2Model:
    return make_model(**CONFIGURATIONS[request.param])


class TestContract:
    """What holds for every configuration."""

    @torch.no_grad()
    def test_shapes_and_types(self, model: RS2Sam2Model) -> None:
        output = answer(model)
        shapes = {name: tuple(value.shape) for name, value in numbers(output).items()}
        expected: dict[str, tuple[int, ...]] = {
            "logits": (3, 1, 64, 64),
            "low_res_logits": (3, 1, 16, 16),
            "presence_logits": (3,),
            "iou_scores": (3,),
            "prompt_token": (3, 32),
            "features 0": (3, 32, 16, 16),
            "features 1": (3, 32, 8, 8),
            "features 2": (3, 32, 4, 4),
            "image_embedding": (3, 32, 4, 4),
        }
        for level, width in enumerate(model.trunk.image_map_widths):
            side = 16 // 2 ** min(level, TINY["trunk_widths"].index(width))
            expected[f"image_maps {level}"] = (3, side, side, width)
        if model.config.mask_prompt != "none":
            expected |= {"pseudo_mask": (3, 1, 4, 4), "pseudo_mask_logits": (3, 1, 4, 4)}
            torch.testing.assert_close(output.pseudo_mask, output.pseudo_mask_logits.sigmoid())
        if model.config.boundary_scalar:
            expected["text_weight"] = (3,)
        assert shapes == expected
        assert all(value.dtype == torch.float32 and value.isfinite().all() for value in numbers(output).values())
        assert ((output.iou_scores >= 0) & (output.iou_scores <= 1)).all()

    @torch.no_grad()
    def test_image_and_phrase_change_the_answer(self, model: RS2Sam2Model) -> None:
        before = answer(model).logits
        assert before.std() > 0.1
        for changed in (
            answer(model, ids=IDS.where(IDS != 9, 10)).logits[1],
            answer(model, images=(views(seed=9)[0], views()[1])).logits[1],
            answer(model, images=(views()[0], views(seed=9)[1])).logits[1],
        ):
            assert (changed - before[1]).abs().max() > 1e-2

    @torch.no_grad()
    def test_a_padded_batch_gives_what_its_samples_give(self, model: RS2Sam2Model) -> None:
        images = views()
        together = numbers(answer(model, images=images))
        for row, length in enumerate(LENGTHS):
            part = slice(row, row + 1)
            alone = answer(model, IDS[part, :length], MASK[part, :length], (images[0][part], images[1][part]))
            for name, value in numbers(alone).items():
                torch.testing.assert_close(together[name][part], value, rtol=1e-5, atol=1e-5)

    @torch.no_grad()
    def test_phrases_that_share_an_image_get_what_each_gets_with_its_own(self, model: RS2Sam2Model) -> None:
        ids, mask = IDS[[0, 1, 2, 1]], MASK[[0, 1, 2, 1]]
        shared = views(2)
        output = answer(model, ids, mask, shared)
        expected = answer(model, ids, mask, (shared[0][[0, 0, 1, 1]], shared[1][[0, 0, 1, 1]]))
        mine, repeated = numbers(output), numbers(expected)
        for name, value in mine.items():
            rows = [0, 2] if len(value) == 2 else slice(None)
            torch.testing.assert_close(value, repeated[name][rows], rtol=1e-5, atol=1e-5)
        assert len(mine["logits"]) == 4
        assert len(mine["image_maps 0"]) == 2

    @torch.no_grad()
    def test_ids_below_padding_do_not_matter(self, model: RS2Sam2Model) -> None:
        expected, other = numbers(answer(model)), numbers(answer(model, ids=IDS.where(MASK, 11)))
        assert all(torch.equal(expected[name], other[name]) for name in expected)

    @torch.no_grad()
    def test_training_mode_answers_like_evaluation_mode(self, model: RS2Sam2Model) -> None:
        expected = numbers(answer(model))
        trained = numbers(answer(deepcopy(model).train()))
        assert all(torch.equal(expected[name], trained[name]) for name in expected)

    @torch.no_grad()
    def test_saving_and_loading_changes_no_bit(self, model: RS2Sam2Model, tmp_path: Path) -> None:
        model.save_pretrained(tmp_path)
        with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
            assert set(file.keys()) == set(model.state_dict())
        torch.manual_seed(1)
        loaded = RS2Sam2Model.from_pretrained(tmp_path)
        assert not loaded.training
        # Copied: tensors as they lie in the file are aligned differently, which costs the last bit in some products.
        expected, given = numbers(answer(model)), numbers(answer(deepcopy(loaded)))
        assert set(expected) == set(given)
        assert all(torch.equal(expected[name], given[name]) for name in expected)

    def test_the_configuration_survives_json(self, model: RS2Sam2Model, tmp_path: Path) -> None:
        model.config.save_pretrained(tmp_path)
        assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "rs2sam2"
        loaded = RS2Sam2Config.from_pretrained(tmp_path)
        assert loaded.to_dict() == model.config.to_dict()
        again = RS2Sam2Config.from_dict(json.loads(model.config.to_json_string(use_diff=False)))
        assert again.to_dict() == model.config.to_dict()

    @pytest.mark.parametrize("boundary_loss", [True, False])
    def test_what_trains_gets_a_gradient_and_what_is_frozen_cannot(
        self, model: RS2Sam2Model, boundary_loss: bool
    ) -> None:
        model = deepcopy(model).train()
        training_loss(answer(model), boundary_loss=boundary_loss).backward()
        freeze_idle(model, boundary_loss=boundary_loss)
        parameters = dict(model.named_parameters())
        # A key's bias moves all weights of a softmax alike: its gradient is nothing but rounding.
        silent = {
            name
            for name, parameter in parameters.items()
            if parameter.requires_grad
            and (parameter.grad is None or not (parameter.grad.any() or name.endswith("bias")))
        }
        assert silent == set()
        assert all(p.grad.isfinite().all() for p in parameters.values() if p.grad is not None)
        moved = {
            name
            for name, parameter in parameters.items()
            if not parameter.requires_grad and parameter.grad is not None and parameter.grad.any()
        }
        assert moved == set()
        assert any(not parameter.requires_grad for parameter in parameters.values())

    @pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
    def test_checkpointing_saves_memory_and_changes_no_gradient(self, model: RS2Sam2Model) -> None:
        plain, checkpointed = deepcopy(model).train(), deepcopy(model).train()
        checkpointed.gradient_checkpointing_enable()
        assert saved_numbers(checkpointed) < 0.7 * saved_numbers(plain)
        for (name, one), other in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
            assert (one.grad is None) == (other.grad is None), name
            if one.grad is not None:
                torch.testing.assert_close(other.grad, one.grad)

    @torch.no_grad()
    def test_bfloat16_answers_much_alike(self, model: RS2Sam2Model) -> None:
        half = deepcopy(model).bfloat16()
        images = views()
        expected = answer(model, images=images).logits
        output = answer(half, images=(images[0].bfloat16(), images[1].bfloat16()))
        assert output.logits.dtype == torch.float32
        assert output.logits.isfinite().all()
        assert (output.logits - expected).square().mean().sqrt() < 0.15 * expected.std()

    @torch.no_grad()
    def test_the_attention_implementation_does_not_matter(self, model: RS2Sam2Model) -> None:
        config = deepcopy(model.config)
        config._attn_implementation = "eager"
        eager = RS2Sam2Model(config).eval()
        eager.load_state_dict(model.state_dict())
        expected, given = numbers(answer(model)), numbers(answer(eager))
        for name in expected:
            torch.testing.assert_close(given[name], expected[name], rtol=1e-4, atol=1e-5)

    @given(side=st.integers(1, 7).map(lambda k: 32 * k))
    @settings(deadline=None, max_examples=4)
    @torch.no_grad()
    def test_any_multiple_of_32_is_a_view(self, model: RS2Sam2Model, side: int) -> None:
        output = answer(model, IDS[:2], MASK[:2], views(2, size=side))
        assert output.logits.shape == (2, 1, side, side)
        assert output.low_res_logits.shape == (2, 1, side // 4, side // 4)
        assert [feature.shape[-1] for feature in output.features] == [side // 4, side // 8, side // 16]
        assert all(value.isfinite().all() for value in numbers(output).values())


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
