"""Parts of the model: each parameter is of one, and trains only if the recipe lets it and a gradient can reach it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.training.batch import Batch
from refersat.training.objective import Trainee
from refersat.training.parameters import parameter_groups
from refersat.training.parts import freeze, part_of, summaries
from refersat.training.recipe import Parts
from refersat.training.recipe_files import load_recipe
from tests.models.tiny_rs2sam2 import CONFIGURATIONS, IDS, MASK, make_model, views

PAPER = ["rs2sam2-refsegrs", "rs2sam2-rrsisd", "rs2sam2-risbench"]
FROM_PAPER = {"union_encoder", "projections", "mask_prompt", "fusion", "adapters", "prompt_encoder", "mask_decoder"}


def batch() -> Batch:
    pixel_values, union_pixel_values = views()
    target = (torch.rand(len(IDS), 1, 64, 64, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    return Batch(pixel_values, union_pixel_values, IDS, MASK, target, present=torch.tensor([1.0, 1.0, 0.0]))


def trained(model: RS2Sam2Model) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_every_parameter_is_of_one_part(configuration: str) -> None:
    model = make_model(**CONFIGURATIONS[configuration])
    parts = {part_of(name) for name, _ in model.named_parameters()}
    assert parts <= set(Parts.model_fields)
    described = summaries(model, {})
    assert {part.name for part in described} == parts
    assert sum(part.parameters for part in described) == sum(parameter.numel() for parameter in model.parameters())


def test_blocks_are_told_from_what_was_added_to_them() -> None:
    assert part_of("trunk.blocks.3.attn.qkv.weight") == "trunk"
    assert part_of("trunk.blocks.3.fusion.text_up.weight") == part_of("encoder_fusion.norm.weight") == "fusion"
    assert part_of("trunk.blocks.3.adapter.down.weight") == "adapters"
    assert part_of("no_memory_embedding") == "neck"
    assert part_of("boundary_scalar.weight") == "projections"


@pytest.mark.parametrize(
    ("name", "configuration", "changes", "parts"),
    [
        *[(name, "released", [], FROM_PAPER) for name in PAPER],
        ("rs2sam2-refsegrs", "released", ["loss.boundary_kind=released"], FROM_PAPER),
        ("rs2sam2-refsegrs", "released", ["loss.boundary=0"], FROM_PAPER),
        ("rs2sam2-refsegrs", "no fusion", [], FROM_PAPER - {"fusion"}),
        ("own-triplets", "built-in", [], {"fusion", "adapters", "selection", "mask_decoder"}),
        ("own-triplets", "built-in", ["loss.presence=0"], {"fusion", "adapters", "selection", "mask_decoder"}),
    ],
)
def test_a_recipe_trains_what_its_losses_reach_and_nothing_else(
    name: str, configuration: str, changes: list[str], parts: set[str]
) -> None:
    recipe = load_recipe(name, ["data.train=triplets:mine", *changes])
    model = make_model(**CONFIGURATIONS[configuration]).train()
    trainee = Trainee(model, None, recipe.loss)
    freeze(model, recipe.parts, recipe.loss.model_copy(update={"edges": 0.0, "objects": 0.0}))
    loss, _, _ = trainee(batch())
    loss.backward()
    # A key's bias moves all weights of a softmax alike: its gradient is nothing but rounding.
    reached = {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and (parameter.grad.any() or name.endswith("bias"))
    }
    assert trained(model) == reached
    assert {part_of(name) for name in reached} == parts
    carried = {id(parameter) for group in parameter_groups(trainee, 0.01) for parameter in group["params"]}
    assert carried == {id(parameter) for parameter in trainee.parameters() if parameter.requires_grad}


def test_a_summary_counts_what_trains_and_where_it_is_from() -> None:
    model = make_model()
    sizes: dict[str, Any] = {name: parameter.numel() for name, parameter in model.named_parameters()}
    model.neck.requires_grad_(False)
    first = next(name for name in sizes if name.startswith("neck."))
    found = {part.name: part for part in summaries(model, {first: "sam2.pt"})}
    size = sum(count for name, count in sizes.items() if part_of(name) == "neck")
    assert found["neck"].parameters == size
    assert found["neck"].trained == sum(
        count for name, count in sizes.items() if part_of(name) == "neck" and not name.startswith("neck.")
    )
    assert found["neck"].origins == {"sam2.pt": sizes[first], "fresh": size - sizes[first]}
    assert found["trunk"].trained == found["trunk"].parameters
