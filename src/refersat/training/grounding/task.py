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
from refersat.training.grounding.batch import GroundingBatch, collate
from refersat.training.grounding.objective import GroundingTrainee
from refersat.training.grounding.start import plan_grounder_start
from refersat.training.grounding.validation import pictures_of, validate
from refersat.training.initialise import Start
from refersat.training.journal import Picture
from refersat.training.parts import options_of
from refersat.training.recipe import LossOptions, Parts, Recipe, Stage
from refersat.training.segmentation import TYPICAL_LENGTH
from refersat.training.setup import Setup


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
        """See `Task.freeze`; every parameter of a grounder can receive a gradient."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(options_of(name, parts).train)

    def read_tokenizer(self, folder: Path, config: GroundingConfig) -> Tokenizer:
        """See `Task.read_tokenizer`."""
        return read_tokenizer(folder, config)

    def collate(self, views: Sequence[View], tokenizer: Tokenizer, config: GroundingConfig) -> GroundingBatch:
        """See `Task.collate`."""
        return collate(views, tokenizer, config)

    def empty_batch(self, config: GroundingConfig, stage: Stage, views: int, *, outlines: bool) -> GroundingBatch:
        """See `Task.empty_batch`."""
        phrases, side = views * stage.phrases_per_view, stage.image_size
        with torch.device("meta"):
            return GroundingBatch(
                pixel_values=torch.empty(views, 3, side, side),
                valid=torch.empty(views, 2),
                input_ids=torch.empty(phrases, TYPICAL_LENGTH, dtype=torch.long),
                attention_mask=torch.empty(phrases, TYPICAL_LENGTH, dtype=torch.bool),
                boxes=torch.empty(phrases, 4),
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
