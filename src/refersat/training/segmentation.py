"""RS2-SAM 2 as a task: what recipes train unless their base says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from refersat.data.samples import Sample
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.batch import AnyBatch, Batch, View, collate
from refersat.training.devices import Devices
from refersat.training.initialise import Start, plan_start
from refersat.training.journal import Picture
from refersat.training.layout_sampler import TYPICAL_LENGTH, empty_layouts
from refersat.training.objective import Trainee
from refersat.training.parts import freeze
from refersat.training.pictures import pictures_of
from refersat.training.recipe import LossOptions, Parts, Recipe, Stage
from refersat.training.refiner_sampler import empty_windows
from refersat.training.setup import Setup
from refersat.training.stream import Sampler
from refersat.training.validation import segmenter_of, validate


class Segmentation:
    """See `Task`."""

    boxes_suffice = False

    def plan_start(self, recipe: Recipe) -> Start:
        """See `Task.plan_start`."""
        return plan_start(recipe)

    def model(self, config: RS2Sam2Config) -> RS2Sam2Model:
        """See `Task.model`."""
        return RS2Sam2Model(config)

    def trainee(self, model: RS2Sam2Model, setup: Setup) -> Trainee:
        """See `Task.trainee`."""
        return Trainee(model, setup.categories, setup.loss)

    def freeze(self, model: RS2Sam2Model, parts: Parts, loss: LossOptions) -> None:
        """See `Task.freeze`."""
        freeze(model, parts, loss)

    def read_tokenizer(self, folder: Path, config: RS2Sam2Config) -> PhraseTokenizer:
        """See `Task.read_tokenizer`."""
        return PhraseTokenizer.from_folder(folder, config.max_text_length)

    def collate(self, views: Sequence[View], tokenizer: Any, config: RS2Sam2Config) -> Batch:
        """See `Task.collate`."""
        return collate(views, tokenizer, config)

    def seen_sampler(self, *_: Any) -> Sampler:
        """See `Task.seen_sampler`: an RS2-SAM 2 has no eye but its own, which trains."""
        raise AssertionError("recipes refuse `once` here")

    def empty_batch(self, config: RS2Sam2Config, stage: Stage, views: int, *, outlines: bool) -> AnyBatch:
        """See `Task.empty_batch`."""
        if stage.only == "selection":
            return empty_layouts(config.candidate_width, views, stage.phrases_per_view)
        if stage.only == "refiner":
            return empty_windows(config.candidate_width, views, stage.image_size)
        phrases, side = views * stage.phrases_per_view, stage.image_size
        with torch.device("meta"):
            return Batch(
                pixel_values=torch.empty(views, 3, side, side),
                union_pixel_values=torch.empty(views, 3, config.union_image_size, config.union_image_size),
                input_ids=torch.empty(phrases, TYPICAL_LENGTH, dtype=torch.long),
                attention_mask=torch.empty(phrases, TYPICAL_LENGTH, dtype=torch.bool),
                target=torch.empty(phrases, 1, side, side),
                present=torch.empty(phrases),
                named=torch.empty(phrases, dtype=torch.long) if outlines else None,
                labels=torch.empty(views, side // 4, side // 4, dtype=torch.long) if outlines else None,
                label_weights=torch.empty(views, side // 4, side // 4) if outlines else None,
                edges=torch.empty(views, 4, side // 4, side // 4) if outlines else None,
            )

    def validate(
        self,
        devices: Devices,
        model: RS2Sam2Model,
        tokenizer: Any,
        samples: Sequence[Sample],
        image_size: int,
        on_sample: Callable[[], None],
    ) -> dict[str, Any]:
        """See `Task.validate`."""
        return validate(devices, model, tokenizer, samples, image_size, on_sample)

    def pictures(
        self, devices: Devices, model: RS2Sam2Model, tokenizer: Any, samples: Sequence[Sample]
    ) -> list[Picture]:
        """See `Task.pictures`."""
        return pictures_of(segmenter_of(devices, model, tokenizer), samples)
