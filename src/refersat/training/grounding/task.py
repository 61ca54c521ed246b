"""The language-query grounder as a task: what recipes train whose base is `lqvg` or `built-in-grounder`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from refersat.data.samples import Sample
from refersat.models.grounding.language_query import read_tokenizer
from refersat.models.grounding.losses import Weights
from refersat.models.grounding.model import GroundingConfig, GroundingModel
from refersat.text.phrases import Tokenizer
from refersat.training.batch import View
from refersat.training.devices import Devices
from refersat.training.generated import PhraseSampler
from refersat.training.grounding.batch import GroundingBatch, collate
from refersat.training.grounding.objective import GroundingTrainee
from refersat.training.grounding.seen_phrases import SeenPhraseSampler, layouts_of
from refersat.training.grounding.start import plan_grounder_start
from refersat.training.grounding.validation import pictures_of, validate
from refersat.training.initialise import Start
from refersat.training.journal import Picture
from refersat.training.layout_sampler import TYPICAL_LENGTH, LayoutBatch, LayoutSampler, empty_layouts
from refersat.training.parts import finds_objects, options_of
from refersat.training.recipe import LossOptions, Parts, Recipe, Stage
from refersat.training.seen import SeenViews, empty_sight
from refersat.training.setup import Setup
from refersat.training.stream import Sampler


class Grounding:
    """See `Task`."""

    boxes_suffice = True

    def plan_start(self, recipe: Recipe) -> Start:
        """See `Task.plan_start`."""
        return plan_grounder_start(recipe)

    def model(self, config: GroundingConfig) -> GroundingModel:
        """See `Task.model`."""
        return GroundingModel(config)

    def trainee(self, model: GroundingModel, setup: Setup) -> GroundingTrainee:
        """See `Task.trainee`."""
        return GroundingTrainee(model, setup.categories, setup.loss, Weights(**dict(setup.recipe.box_loss)))

    def freeze(self, model: GroundingModel, parts: Parts, loss: LossOptions) -> None:
        """See `Task.freeze`; every parameter of a grounder can receive a gradient, but for what finds objects."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(options_of(name, parts).train and not finds_objects(name))

    def read_tokenizer(self, folder: Path, config: GroundingConfig) -> Tokenizer:
        """See `Task.read_tokenizer`."""
        return read_tokenizer(folder, config)

    def collate(self, views: Sequence[View], tokenizer: Tokenizer, config: GroundingConfig) -> GroundingBatch:
        """See `Task.collate`."""
        return collate(views, tokenizer, config)

    def seen_sampler(
        self, seen: SeenViews, sampler: PhraseSampler, stage: Stage, model: GroundingModel, tokenizer: Tokenizer
    ) -> Sampler:
        """See `Task.seen_sampler`."""
        assert model.selector is not None
        layouts = layouts_of(seen, model.selector)
        if stage.only is not None:
            return LayoutSampler(layouts, sampler, tokenizer, seed=sampler.seed)
        return SeenPhraseSampler(seen, layouts, sampler, tokenizer)

    def empty_batch(
        self, config: GroundingConfig, stage: Stage, views: int, *, outlines: bool
    ) -> GroundingBatch | LayoutBatch:
        """See `Task.empty_batch`."""
        if stage.only is not None:
            return empty_layouts(config.eye["candidate_width"], views, stage.phrases_per_view)
        phrases, side = views * stage.phrases_per_view, stage.image_size
        with torch.device("meta"):
            return GroundingBatch(
                pixel_values=torch.empty(views, 3, 0 if stage.once else side, side),
                maps=empty_sight(config.eye, views, side).maps if stage.once else (),
                valid=torch.empty(views, 2),
                input_ids=torch.empty(phrases, TYPICAL_LENGTH, dtype=torch.long),
                attention_mask=torch.empty(phrases, TYPICAL_LENGTH, dtype=torch.bool),
                boxes=torch.empty(phrases, 1, 4),
                there=torch.empty(phrases, 1, dtype=torch.bool),
                present=torch.empty(phrases),
                named=torch.empty(phrases, dtype=torch.long) if outlines else None,
                labels=torch.empty(views, side // 4, side // 4, dtype=torch.long) if outlines else None,
                label_weights=torch.empty(views, side // 4, side // 4) if outlines else None,
            )

    def validate(
        self,
        devices: Devices,
        model: GroundingModel,
        tokenizer: Tokenizer,
        samples: Sequence[Sample],
        image_size: int,
        on_sample: Callable[[], None],
    ) -> dict[str, Any]:
        """See `Task.validate`."""
        return validate(devices, model, tokenizer, samples, image_size, on_sample)

    def pictures(
        self, devices: Devices, model: GroundingModel, tokenizer: Tokenizer, samples: Sequence[Sample]
    ) -> list[Picture]:
        """See `Task.pictures`."""
        return pictures_of(model, tokenizer, samples)
