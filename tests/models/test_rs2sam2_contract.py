"""What RS2-SAM 2 promises in every configuration: shapes, gradients, batches, saving."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.models.selection import INSTANCES
from refersat.training.parts import freeze_idle
from refersat.training.recipe import LossOptions
from tests.models.tiny_rs2sam2 import (
    CONFIGURATIONS,
    IDS,
    LENGTHS,
    MASK,
    TINY,
    answer,
    make_model,
    numbers,
    saved_numbers,
    training_loss,
    views,
)


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
            "decoded_logits": (3, 1, 64, 64),
            "low_res_logits": (3, 1, 16, 16),
            "presence_logits": (3,),
            "object_score_logits": (3,),
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
        if model.config.candidate_width:
            expected |= {"candidate logits": (3, 1, 16, 16), "edges": (3, 4, 16, 16), "survey": (3, 8, 16, 16)}
        if model.config.selection:
            expected |= {"objectness": (3, 1, 16, 16), "selection": (3, INSTANCES)}
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
                torch.testing.assert_close(together[name][part], value, rtol=5e-5, atol=5e-5)  # sums of another order

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
        freeze_idle(model, LossOptions(boundary=0.2 if boundary_loss else 0.0, refinement=0.0))
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
        expected = answer(model, images=images)
        output = answer(half, images=(images[0].bfloat16(), images[1].bfloat16()))
        assert output.logits.dtype == torch.float32
        assert output.logits.isfinite().all()
        # Of objects that are equally likely, either may be the one that is meant.
        pairs = [(output.decoded_logits, expected.decoded_logits)]
        if output.selection is not None:
            pairs.append((output.selection.objectness, expected.selection.objectness))
        for half_said, wanted in pairs:
            assert (half_said - wanted).square().mean().sqrt() < 0.15 * wanted.std()

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
