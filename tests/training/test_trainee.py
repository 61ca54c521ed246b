"""A model with its losses: how terms add up, and that they teach every parameter that trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor

from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.models.sightings import Objects
from refersat.training.batch import UNNAMED, Batch
from refersat.training.layout_sampler import LayoutBatch
from refersat.training.objective import Totals, Trainee, _kinds
from refersat.training.parts import freeze_idle
from refersat.training.recipe import LossOptions
from refersat.training.setup import OUTLINE_TERMS
from tests.training.batches import CATEGORIES, SELECTION, WEIGHTS, make_batch

VIEWS = ("pixel_values", "union_pixel_values", "labels", "label_weights", "edges")
"""What a batch holds of its views; the rest is of its phrases."""


@pytest.fixture
def make_trainee(tiny_config: Callable[..., RS2Sam2Config]) -> Callable[..., Trainee]:
    def make(weights: LossOptions, **changes: Any) -> Trainee:
        torch.manual_seed(0)
        return Trainee(RS2Sam2Model(tiny_config(**changes)), CATEGORIES, weights)

    return make


def test_a_name_of_no_category_may_mean_every_kind_and_is_taught_as_none(make_trainee: Callable[..., Trainee]) -> None:
    batch = make_batch([1.0, 1.0])
    unnamed = replace(batch, named=torch.tensor([UNNAMED, 1]))
    assert torch.equal(_kinds(unnamed)[0, 0] > 0, batch.labels[0] > 0)
    assert torch.equal(_kinds(unnamed)[1], _kinds(batch)[1])
    trainee = make_trainee(LossOptions())
    nobody = trainee(replace(batch, named=torch.full((2,), UNNAMED)))[1]
    assert nobody["named"] == 0
    assert all(torch.isfinite(term) for term in nobody.values())
    assert 0 < trainee(unnamed)[1]["named"] < trainee(batch)[1]["named"]


def test_the_loss_is_the_weighted_sum_of_its_terms(make_trainee: Callable[..., Trainee]) -> None:
    weights = LossOptions(**{name: 0.5 + number for number, name in enumerate(WEIGHTS)})
    loss, terms, _ = make_trainee(weights)(make_batch([1.0, 0.0]))
    assert all(torch.isfinite(term) and not term.requires_grad for term in terms.values())
    assert loss.item() == pytest.approx(sum(getattr(weights, name) * term.item() for name, term in terms.items()))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"block_fusion": "uni"},
        {"block_fusion": "linear", "candidate_width": 0},
        {"block_fusion": "none", "mlp_adapter": False, "candidate_width": 0},
        {"candidate_width": 0},
        {"encoder_fusion": False},
        {"mask_prompt": "none"},
        {"boundary_scalar": False},
        {"stem": "patch"},
        {"fusion_from_block": 2, "trunk_convolutions": [0, 1, 1, 2]},
        {"selection": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("edges", [0.2, 0.0])
def test_exactly_the_parameters_that_learn_are_trained(
    make_trainee: Callable[..., Trainee], changes: dict[str, Any], edges: float
) -> None:
    trainee = make_trainee(LossOptions(boundary=edges), **changes)
    trained, gradients = trained_and_gradients(trainee)
    assert trained == {name for name, gradient in gradients.items() if gradient is not None and gradient.any()}
    assert any(name.startswith("category_head.") for name in trained)


@pytest.mark.parametrize("fusion_from_block", [0, 2])
def test_phrases_that_share_a_view_cost_what_they_cost_alone(
    make_trainee: Callable[..., Trainee], fusion_from_block: int
) -> None:
    trainee = make_trainee(LossOptions(candidate_dice=1.0), fusion_from_block=fusion_from_block)
    alone = make_batch([1.0, 0.0, 1.0, 0.0])
    first_of_two = [0, 0, 2, 2]
    views = {name: getattr(alone, name) for name in VIEWS}
    repeated = replace(alone, **{name: values[first_of_two] for name, values in views.items()})
    shared = replace(alone, **{name: values[[0, 2]] for name, values in views.items()})
    loss, terms, _ = trainee(repeated)
    loss_shared, terms_shared, _ = trainee(shared)
    torch.testing.assert_close(terms, terms_shared)
    torch.testing.assert_close(loss, loss_shared)


def test_without_phrases_only_the_image_side_learns(make_trainee: Callable[..., Trainee]) -> None:
    batch = make_batch([1.0, 0.0])
    phrases = {
        field.name: getattr(batch, field.name)[:0]
        for field in fields(Batch)
        if field.name not in (*VIEWS, "views", "phrases")
    }
    trainee = make_trainee(LossOptions(categories=2.0, edges=0.5))
    loss, terms, _ = trainee(replace(batch, **phrases))
    assert set(terms) == {"categories", "edges"}
    assert loss.item() == pytest.approx(2 * terms["categories"].item() + 0.5 * terms["edges"].item())
    loss.backward()
    reached = {
        name.split(".")[1] for name, parameter in trainee.model.named_parameters("m") if parameter.grad is not None
    }
    assert reached == {"trunk", "candidates"}


def test_the_selection_alone_is_taught_by_its_stage(make_trainee: Callable[..., Trainee]) -> None:
    trainee = make_trainee(LossOptions(), selection=True)
    model, batch = trainee.model, make_batch([1.0, 0.0])
    survey = model.candidates.survey(model.trunk.look(batch.pixel_values))
    sightings = model.selector.find([survey])
    objects = sightings.objects
    layouts = LayoutBatch(
        objects=Objects(objects.features.detach(), objects.boxes, objects.scores),
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        meant=(sightings.belonging(batch.target) > 1).float(),
        present=batch.present,
    )
    loss, terms, own = trainee(layouts)
    assert set(terms) == {"selection"}
    assert loss.item() == pytest.approx(terms["selection"].item())
    assert own["selection"].mean().item() == pytest.approx(terms["selection"].item())
    together = trainee(batch)[1]
    assert set(together) == set(WEIGHTS) - {"candidate_dice"} | set(SELECTION)
    torch.testing.assert_close(together["selection"], terms["selection"])
    trainee.zero_grad()
    loss.backward()
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    choosing = {name for name, _ in model.named_parameters() if name.startswith("selector.")}
    assert reached == {
        name for name in choosing if not name.startswith(("selector.objectness", "selector.feature_norm"))
    }


def test_parts_of_a_batch_add_up_to_the_whole(make_trainee: Callable[..., Trainee]) -> None:
    whole = make_batch([1.0, 0.0, 1.0, 1.0])
    tensors = {field.name: getattr(whole, field.name) for field in fields(Batch)}
    weighted = torch.linspace(0.2, 3, whole.labels.numel()).view_as(whole.labels)
    whole = replace(whole, label_weights=weighted)
    tensors["label_weights"] = weighted
    parts = [
        Batch(**{name: value[place] for name, value in tensors.items() if isinstance(value, Tensor)})
        for place in (slice(0, 1), slice(1, 4))
    ]
    trainee = make_trainee(LossOptions(candidate_dice=1.0))
    loss, terms, own = trainee(whole)
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in trainee.named_parameters() if p.grad is not None}
    trainee.zero_grad(set_to_none=True)
    made = [trainee(part, Totals.of(parts)) for part in parts]
    for part_loss, _, _ in made:
        part_loss.backward()
    assert sum(part_loss.item() for part_loss, _, _ in made) == pytest.approx(loss.item(), rel=1e-5)
    for name, term in terms.items():
        assert sum(part_terms[name].item() for _, part_terms, _ in made) == pytest.approx(term.item(), rel=1e-5)
    for name, values in own.items():
        together = torch.cat([part_own[name] for _, _, part_own in made])
        torch.testing.assert_close(together, values, rtol=1e-4, atol=1e-6)
    for name, parameter in trainee.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=2e-3, atol=2e-5)


def test_every_phrase_has_its_own_terms(make_trainee: Callable[..., Trainee]) -> None:
    _, terms, own = make_trainee(LossOptions())(make_batch([1.0, 0.0, 1.0]))
    assert set(own) == {"cross_entropy", "dice", "presence", "boundary"}
    assert all(values.shape == (3,) and not values.requires_grad for values in own.values())
    assert own["cross_entropy"].mean().item() == pytest.approx(terms["cross_entropy"].item())
    assert own["dice"][[0, 2]].mean().item() == pytest.approx(terms["dice"].item())


def test_samples_without_outlines_train_without_the_heads_that_need_them(make_trainee: Callable[..., Trainee]) -> None:
    outlined = make_trainee(LossOptions())
    trainee = Trainee(outlined.model, None, LossOptions())
    batch = replace(make_batch([1.0]), named=None, labels=None, label_weights=None, edges=None)
    _, terms, _ = trainee(batch)
    assert set(WEIGHTS) - set(terms) == OUTLINE_TERMS - set(SELECTION)
    assert not [name for name, _ in trainee.named_parameters() if name.startswith(("category_head", "named_head"))]


@pytest.mark.parametrize(
    "name",
    ["coarse", "presence", "pseudo_mask", "categories", "named", "candidates", "edges", "objects", "selection"],
)
def test_what_has_no_weight_is_not_computed(make_trainee: Callable[..., Trainee], name: str) -> None:
    trainee = make_trainee(LossOptions(**{name: 0.0}), selection=name in SELECTION)
    _, terms, _ = trainee(make_batch([1.0, 0.0]))
    assert name not in terms
    trained, gradients = trained_and_gradients(trainee)
    assert trained == {each for each, gradient in gradients.items() if gradient is not None and gradient.any()}


def test_the_released_boundary_loss_teaches_the_text_scalar_alone(make_trainee: Callable[..., Trainee]) -> None:
    others = dict.fromkeys(WEIGHTS, 0.0)
    trainee = make_trainee(LossOptions(**{**others, "boundary": 1.0, "boundary_kind": "released"}))
    trainee(make_batch([1.0]))[0].backward()
    reached = {
        name.split(".")[0]
        for name, parameter in trainee.model.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    assert "boundary_scalar" in reached
    assert not reached & {"mask_decoder", "trunk", "neck"}


def test_no_trained_parameter_is_out_of_reach_without_any_fusion(make_trainee: Callable[..., Trainee]) -> None:
    # Several processes wait for each other's gradients: one that never comes would stop them.
    changes = {
        "block_fusion": "none",
        "candidate_width": 0,
        "encoder_fusion": False,
        "boundary_scalar": False,
        "mask_prompt": "none",
    }
    trained, gradients = trained_and_gradients(make_trainee(LossOptions(), **changes))
    assert all(gradients[name] is not None for name in trained)


def trained_and_gradients(trainee: Trainee) -> tuple[set[str], dict[str, Tensor | None]]:
    """The names of the parameters that train, and what gradient each would get if all did."""
    trainee(make_batch([1.0, 0.0]))[0].backward()
    gradients = {name: parameter.grad for name, parameter in trainee.named_parameters()}
    freeze_idle(trainee.model, trainee.weights)
    return {name for name, parameter in trainee.named_parameters() if parameter.requires_grad}, gradients
