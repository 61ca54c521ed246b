"""Promptable networks as a task: what recipes train whose base is `built-in-sam` or `sam`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from refersat.data.samples import Sample
from refersat.models.prompted.compact import CompactSamModel
from refersat.training.batch import View
from refersat.training.devices import Devices
from refersat.training.generated import PhraseSampler
from refersat.training.initialise import Start, fresh_model
from refersat.training.journal import Picture
from refersat.training.parts import freeze_unprompted, options_of
from refersat.training.prompted.batch import PromptBatch, collate
from refersat.training.prompted.objective import CompactSamTrainee, PromptedTrainee
from refersat.training.prompted.sampler import STRIDE, PromptSampler
from refersat.training.prompted.start import NoPhrases, PromptedStart, plan_prompted_start, segmenter_of
from refersat.training.prompted.validation import validate
from refersat.training.recipe import LossOptions, Parts, Recipe, Stage
from refersat.training.seen import SeenViews, empty_sight
from refersat.training.setup import Setup
from refersat.training.trainee import AnyTrainee


class Prompted:
    """See `Task`."""

    boxes_suffice = False

    def plan_start(self, recipe: Recipe) -> Start:
        """See `Task.plan_start`."""
        return plan_prompted_start(recipe)

    def model(self, config: Any) -> PreTrainedModel:
        """See `Task.model`."""
        return fresh_model(config)

    def trainee(self, model: PreTrainedModel, setup: Setup) -> AnyTrainee:
        """See `Task.trainee`."""
        if any(stage.once for stage in setup.schedule.stages):
            assert isinstance(model, CompactSamModel)
            return CompactSamTrainee(model, setup.loss)
        folder = setup.start.folder if isinstance(setup.start, PromptedStart) else Path()
        return PromptedTrainee(segmenter_of(model, folder), setup.loss)

    def freeze(self, model: PreTrainedModel, parts: Parts, loss: LossOptions) -> None:
        """See `Task.freeze`."""
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(options_of(name, parts).train)
        freeze_unprompted(model)
        if isinstance(model, CompactSamModel):  # to which every prompt is a mask, too
            model.prompt_encoder.no_mask_embed.requires_grad_(False)

    def read_tokenizer(self, folder: Path, config: Any) -> NoPhrases:
        """See `Task.read_tokenizer`."""
        return NoPhrases(folder)

    def collate(self, views: Sequence[View], tokenizer: Any, config: Any) -> PromptBatch:
        """See `Task.collate`."""
        return collate(views, tokenizer, config)

    def seen_sampler(
        self, seen: SeenViews, sampler: PhraseSampler, stage: Stage, model: Any, tokenizer: Any
    ) -> PromptSampler:
        """See `Task.seen_sampler`."""
        return PromptSampler(seen, seed=sampler.seed)

    def empty_batch(self, config: Any, stage: Stage, views: int, *, outlines: bool) -> PromptBatch:
        """See `Task.empty_batch`."""
        prompts, side = views * stage.phrases_per_view, stage.image_size
        with torch.device("meta"):
            sight = empty_sight(config.eye, views, side) if stage.once else None
            target = side // STRIDE if stage.once else side
            return PromptBatch(
                boxes=torch.empty(prompts, 4),
                points=torch.empty(prompts, 2),
                target=torch.empty(prompts, target, target),
                present=torch.empty(prompts),
                input_ids=torch.empty(prompts, 0, dtype=torch.long),
                attention_mask=torch.empty(prompts, 0, dtype=torch.bool),
                sight=sight,
                pixels=() if stage.once else (np.zeros((side, side, 3), np.uint8),) * views,
            )

    def validate(
        self,
        devices: Devices,
        model: PreTrainedModel,
        tokenizer: Any,
        samples: Sequence[Sample],
        image_size: int,
        on_sample: Callable[[], None],
    ) -> dict[str, Any]:
        """See `Task.validate`; the size is the network's own."""
        return validate(devices, segmenter_of(model, tokenizer.folder), samples, on_sample)

    def pictures(
        self, devices: Devices, model: PreTrainedModel, tokenizer: Any, samples: Sequence[Sample]
    ) -> list[Picture]:
        """See `Task.pictures`: masks of true boxes say little, so none are drawn."""
        return []
