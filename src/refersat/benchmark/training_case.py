"""What is trained for a measurement, and on which batches: the same in every process, and without any file."""

from __future__ import annotations

import torch
from torch import Tensor

from refersat.benchmark.case import Config
from refersat.data.coco import CocoFile
from refersat.models.rs2sam2 import RS2Sam2Config
from refersat.training.batch import Batch
from refersat.training.recipe import SampleData, Stage
from refersat.training.recipe_files import changed_recipe, load_recipe
from refersat.training.sample_sets import TrainingSamples
from refersat.training.schedule import Schedule
from refersat.training.setup import OUTLINE_TERMS, Setup
from refersat.training.task import task_of

RECIPES: dict[Config, str] = {"large": "rs2sam2-rrsisd", "built-in": "built-in"}

NO_DATA = {
    "large": ["data.train=rrsisd:none", "init={}"],
    "built-in": ["data.annotations=none", "data.images=none"],
}
"""In place of what a recipe would read; all weights start fresh."""

SAMPLES = 10_000
"""That an epoch is taken to have."""

CATEGORIES = 10
"""Of outlined objects: as many as the built-in model's data has."""

LENGTHS = (14, 9, 20, 6, 17, 11, 23, 8)
"""Tokens of the phrases of one step after the other, over and over."""


def make_setup(config: Config, *, batch: int | None, precision: str, compiled: bool, checkpointing: bool) -> Setup:
    """A shipped recipe, cut down to its last stage that trains all of the model.

    Args:
        config: which model.
        batch: views of a step; None: as the recipe says.
        precision: float32 or bfloat16.
        compiled: as in recipes.
        checkpointing: of activations.
    """
    recipe = load_recipe(RECIPES[config], NO_DATA[config])
    stage = [each for each in recipe.stages if each.only is None and each.phrases_per_view][-1]
    changes = {
        "stages": [stage.model_copy(update={"batch_size": batch or stage.batch_size}).model_dump(mode="json")],
        "optimizer.precision": precision,
        "optimizer.compiled": compiled,
        "optimizer.activation_checkpointing": checkpointing,
    }
    recipe = changed_recipe(recipe, changes)
    sampled = isinstance(recipe.data, SampleData)
    task = task_of(recipe)
    return Setup(
        recipe=recipe,
        start=task.plan_start(recipe),
        source=TrainingSamples((), (), "") if sampled else CocoFile((), tuple(map(str, range(CATEGORIES)))),
        validation=[],
        fingerprint="",
        schedule=Schedule.of(recipe, SAMPLES if sampled else None),
        task=task,
        untaught=frozenset({"refinement", *({"presence", *OUTLINE_TERMS} if sampled else ())}),
    )


def stage_of(setup: Setup) -> Stage:
    """Its only stage."""
    return setup.schedule.stages[0]


def make_batches(setup: Setup, count: int) -> list[Batch]:
    """A batch for each of so many steps, with phrases of another length in each: noise, and an object to find."""
    generator = torch.Generator().manual_seed(1)
    config = setup.start.config
    assert isinstance(config, RS2Sam2Config)
    stage = stage_of(setup)
    outlines = setup.categories is not None
    sizes = setup.task.empty_batch(config, stage, stage.batch_size, outlines=outlines)
    assert isinstance(sizes, Batch)
    return [_filled(sizes, LENGTHS[step % len(LENGTHS)], config.vocab_size, generator) for step in range(count)]


def _filled(sizes: Batch, length: int, vocabulary: int, generator: torch.Generator) -> Batch:
    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator)

    phrases, _, side, _ = sizes.target.shape
    ids = torch.randint(4, vocabulary, (phrases, length), generator=generator)
    ids[:, 0], ids[:, -1] = 0, 2
    heard = torch.ones(phrases, length, dtype=torch.bool)
    heard[1:, -1] = False  # as in any batch of phrases that are not all of a length
    target = torch.zeros(sizes.target.shape)
    target[:, :, side // 4 : side // 2, side // 4 : side // 2] = 1
    labels = edges = weights = named = None
    if sizes.labels is not None and sizes.edges is not None:
        labels = torch.zeros(sizes.labels.shape, dtype=torch.long)
        labels[:, side // 16 : side // 8, side // 16 : side // 8] = 1
        weights = torch.ones(labels.shape)
        edges = torch.full(sizes.edges.shape, side / 32)
        named = torch.zeros(phrases, dtype=torch.long)
    return Batch(
        pixel_values=noise(sizes.pixel_values),
        union_pixel_values=noise(sizes.union_pixel_values),
        input_ids=ids,
        attention_mask=heard,
        target=target,
        present=torch.ones(phrases),
        named=named,
        labels=labels,
        label_weights=weights,
        edges=edges,
        views=tuple(f"view {number}" for number in range(len(sizes.pixel_values))),
        phrases=tuple(f"phrase {number}" for number in range(phrases)),
    )
