"""What trains, what does not, and the average that is kept."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.training.parameters import MovingAverage, freeze_idle, parameter_groups


@pytest.fixture
def model(tiny_config: Callable[..., RS2Sam2Config]) -> RS2Sam2Model:
    torch.manual_seed(0)
    return RS2Sam2Model(tiny_config())


def names_in(group: dict[str, object], module: nn.Module) -> set[str]:
    found = {id(parameter) for parameter in group["params"]}  # type: ignore[attr-defined]
    return {name for name, parameter in module.named_parameters() if id(parameter) in found}


def test_every_trained_parameter_is_in_one_group(model: RS2Sam2Model) -> None:
    freeze_idle(model, boundary_loss=True)
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


def test_the_average_forgets_random_weights_soon_and_converges(model: RS2Sam2Model) -> None:
    average = MovingAverage(model, 0.9)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3.0)
    start = next(average.model.parameters()).flatten()[0].item()
    average.update(model)
    first = next(average.model.parameters()).flatten()[0].item()
    assert first == pytest.approx(start + (3.0 - start) * (1 - 2 / 11), abs=1e-6)
    for _ in range(150):
        average.update(model)
    for parameter in average.model.parameters():
        torch.testing.assert_close(parameter, torch.full_like(parameter, 3.0), rtol=0, atol=1e-4)


def test_the_average_reaches_its_decay(model: RS2Sam2Model) -> None:
    average = MovingAverage(model, 0.5)
    for _ in range(20):
        average.update(model)
    before = next(average.model.parameters()).clone()
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    average.update(model)
    torch.testing.assert_close(next(average.model.parameters()), before + 0.5)


def test_the_average_is_a_model_of_its_own(model: RS2Sam2Model) -> None:
    average = MovingAverage(model, 0.9)
    assert not average.model.training
    assert not any(parameter.requires_grad for parameter in average.model.parameters())
    model.config.image_size = 32
    assert average.model.config.image_size == 64
