"""The optimizer's groups, and the average that is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.training.parameters import MovingAverage, parameter_groups
from refersat.training.parts import freeze_idle
from refersat.training.recipe import LossOptions


@pytest.fixture
def model(tiny_config: Callable[..., RS2Sam2Config]) -> RS2Sam2Model:
    torch.manual_seed(0)
    return RS2Sam2Model(tiny_config())


def names_in(group: dict[str, object], module: nn.Module) -> set[str]:
    found = {id(parameter) for parameter in group["params"]}  # type: ignore[attr-defined]
    return {name for name, parameter in module.named_parameters() if id(parameter) in found}


def test_every_trained_parameter_is_in_one_group(model: RS2Sam2Model) -> None:
    freeze_idle(model, LossOptions())
    matrices, tables, plain = parameter_groups(model, 0.05)
    assert [group["weight_decay"] for group in (matrices, tables, plain)] == [0.05, 0.05, 0.0]
    assert [group["matrices"] for group in (matrices, tables, plain)] == [True, False, False]
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    in_groups = [name for group in (matrices, tables, plain) for name in names_in(group, model)]
    assert sorted(in_groups) == sorted(trained)
    assert len(trained) < len(list(model.parameters()))


def test_weight_decay_is_for_matrices_alone(model: RS2Sam2Model) -> None:
    matrices, tables, plain = (names_in(group, model) for group in parameter_groups(model, 0.05))
    parameters = dict(model.named_parameters())
    assert all(parameters[name].ndim >= 2 for name in matrices | tables)
    assert {"trunk.pos_embed", "trunk.pos_embed_window", "no_memory_embedding", "union_encoder.cls_token"} <= plain
    norms = {
        f"{prefix}.weight"
        for prefix, module in model.named_modules()
        if isinstance(module, nn.LayerNorm) and f"{prefix}.weight" in parameters
    }
    assert norms
    assert norms <= plain
    assert {name for name in parameters if name.endswith("bias")} <= plain
    assert {"token_mlp.proj_in.weight", "encoder_fusion.image_from_text.in_proj_weight"} <= matrices
    assert "mask_decoder.mask_tokens.weight" in tables


def test_parts_with_other_rates_have_groups_of_their_own(model: RS2Sam2Model) -> None:
    groups = parameter_groups(model, 0.05, lambda name: 2.0 if name.startswith("token_mlp.") else 1.0)
    fast = [group for group in groups if group["scale"] == 2.0]
    assert [group["matrices"] for group in fast] == [True, False]  # no table among them
    assert set().union(*(names_in(group, model) for group in fast)) == {
        f"token_mlp.{layer}.{kind}" for layer in ("proj_in", "proj_out") for kind in ("weight", "bias")
    }
    assert {group["scale"] for group in groups} == {1.0, 2.0}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_the_average_forgets_random_weights_soon_and_converges(model: RS2Sam2Model) -> None:
    average = MovingAverage(model, 0.9)
    name, parameter = next(model.named_parameters())
    start = parameter.detach().flatten()[0].item()
    with torch.no_grad():
        for each in model.parameters():
            each.fill_(3.0)
    average.update(model)
    first = average.values[name].flatten()[0].item()
    assert first == pytest.approx(start + (3.0 - start) * (1 - 2 / 11), abs=1e-6)
    for _ in range(150):
        average.update(model)
    for value in average.values.values():
        torch.testing.assert_close(value, torch.full_like(value, 3.0), rtol=0, atol=1e-4)


def test_the_average_reaches_its_decay(model: RS2Sam2Model) -> None:
    average = MovingAverage(model, 0.5)
    for _ in range(20):
        average.update(model)
    name, parameter = next(model.named_parameters())
    before = average.values[name].clone()
    with torch.no_grad():
        parameter.add_(1.0)
    average.update(model)
    torch.testing.assert_close(average.values[name], before + 0.5)


def test_the_average_takes_the_place_of_the_weights_for_a_while(model: RS2Sam2Model) -> None:
    average = MovingAverage(model, 0.5)
    averaged = {name: value.clone() for name, value in average.values.items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    current = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with average.in_place(model):
        for name, parameter in model.named_parameters():
            assert torch.equal(parameter, averaged[name])
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, current[name])
        assert torch.equal(average.values[name], averaged[name])


def test_what_is_frozen_has_no_average_of_its_own(model: RS2Sam2Model) -> None:
    model.trunk.requires_grad_(False)
    assert not any(name.startswith("trunk.") for name in MovingAverage(model, 0.9).values)


def test_without_an_average_the_weights_stand_for_themselves(model: RS2Sam2Model) -> None:
    average = MovingAverage(model, None)
    parameter = next(model.parameters())
    with torch.no_grad():
        parameter.fill_(2.0)
    average.update(model)
    with average.in_place(model):
        assert (parameter == 2.0).all()
