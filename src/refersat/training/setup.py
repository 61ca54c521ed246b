"""Everything of a run that can be wrong before its first step, found before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from refersat.data.coco import CocoFile, read_coco
from refersat.data.samples import Sample
from refersat.data.triplets import read_triplets
from refersat.errors import UserError
from refersat.models import store
from refersat.text.corpus import corpus
from refersat.text.phrases import Tokenizer
from refersat.text.tokenizer import train_tokenizer
from refersat.training.absent import AbsentPhrases
from refersat.training.generated import PhraseSampler, check_outlines
from refersat.training.initialise import Start
from refersat.training.journal import check_tensorboard
from refersat.training.recipe import LossOptions, Recipe, SampleData, Stage
from refersat.training.sample_sets import SetSampler, TrainingSamples, read_training_samples
from refersat.training.schedule import Schedule
from refersat.training.stream import Sampler
from refersat.training.task import Task, task_of
from refersat.training.validation import spread_evenly

OUTLINE_TERMS = frozenset({"categories", "named", "candidates", "candidate_dice", "edges", "objects"})
"""Loss terms for which objects must be outlined."""


@dataclass(frozen=True)
class Setup:
    """A recipe with its data listed and its schedule known.

    Attributes:
        recipe: what to do.
        start: the model's configuration and where its weights come from.
        source: outlined objects to generate phrases for, or samples as they are.
        validation: what is measured.
        fingerprint: sha256 of what lists the data; `data_files` has one of the files themselves.
        schedule: in steps.
        task: what kind of model it is about.
        untaught: loss terms that the data cannot give.
    """

    recipe: Recipe
    start: Start
    source: CocoFile | TrainingSamples
    validation: list[Sample]
    fingerprint: str
    schedule: Schedule
    task: Task
    untaught: frozenset[str] = frozenset()

    def loss_of(self, stage: Stage) -> LossOptions:
        """Weights of the loss terms in a stage, 0 for what the data cannot give."""
        loss = stage.loss or self.recipe.loss
        return loss.model_copy(update=dict.fromkeys(self.untaught, 0.0))

    @property
    def loss(self) -> LossOptions:
        """Of the first stage, with the largest weight that each term ever has: what trains at all depends on that."""
        losses = [self.loss_of(stage) for stage in self.schedule.stages]
        weights = {name for name, value in losses[0] if isinstance(value, float)}
        return losses[0].model_copy(update={name: max(getattr(loss, name) for loss in losses) for name in weights})

    @property
    def categories(self) -> int | None:
        """How many kinds of outlined objects there are; None where there are no outlines."""
        return len(self.source.categories) if isinstance(self.source, CocoFile) else None

    def sampler(self, tokenizer: Tokenizer, config: Any) -> Sampler:
        """What makes the batches."""
        if isinstance(self.source, CocoFile):
            return PhraseSampler(self.recipe, self.source, tokenizer, config, self.task.collate)
        return SetSampler(self.recipe, self.source.train, tokenizer, config, self.task.collate)

    def tokenizer(self, folder: Path, *, new: bool) -> Tokenizer:
        """The run's tokenizer: for a `new` run put into its folder, taken over or learned; else the one there."""
        config: Any = self.start.config
        if not new:
            return self.task.read_tokenizer(folder, config)
        if self.start.tokenizer is not None:
            self.start.tokenizer.save(folder)
            return self.start.tokenizer
        sentences = corpus(np.random.default_rng(self.recipe.seed), self.recipe.tokenizer_sentences)
        if isinstance(self.source, TrainingSamples):
            sentences = chain(sentences, (sample.phrase for sample in self.source.train))
        return train_tokenizer(sentences, folder, config.vocab_size - 1, max_length=config.max_text_length)


def set_up(recipe: Recipe) -> Setup:
    """Read what the recipe names, as far as to know that it is there and fits.

    Raises:
        UserError: what is missing or does not fit.
    """
    if recipe.tensorboard:
        check_tensorboard()
    task = task_of(recipe)
    start = task.plan_start(recipe)
    _check_parts_alone(recipe, start)
    if any(stage.once for stage in recipe.stages) and not getattr(start.config, "eye", None):
        raise UserError("stages: once: needs a model with a frozen eye: base built-in-sam or built-in-grounder")
    data, untaught = recipe.data, set[str]()
    if not any(stage.only == "refiner" for stage in recipe.stages):
        untaught.add("refinement")
    source: CocoFile | TrainingSamples
    if isinstance(data, SampleData):
        source = read_training_samples(data, boxes_suffice=task.boxes_suffice)
        untaught |= OUTLINE_TERMS
        if data.absent:
            AbsentPhrases.of(source.train, data)
        if not data.absent and not any(sample.absent for sample in source.train):
            untaught.add("presence")  # all are there: nothing to learn from
        validation, fingerprint = source.validation, source.fingerprint
        schedule = Schedule.of(recipe, len(source.train))
    else:
        source = read_coco(data.annotations)
        check_outlines(data, source)
        validation = () if data.validation is None else read_triplets(data.validation).samples
        fingerprint = store.sha256(data.annotations)
        schedule = Schedule.of(recipe, None)
    return Setup(
        recipe=recipe,
        start=start,
        source=source,
        validation=spread_evenly(validation, recipe.validation_samples),
        fingerprint=fingerprint,
        schedule=schedule,
        task=task,
        untaught=frozenset(untaught),
    )


def _check_parts_alone(recipe: Recipe, start: Start) -> None:
    """See that stages that train one part alone have one, and a model to learn from."""
    alone = {stage.only for stage in recipe.stages}
    config = start.config
    chooses = getattr(config, "selection", False) or getattr(config, "first_boxes", "") == "objects"
    if "selection" in alone and not chooses:
        raise UserError("stages: only: selection needs a model that has one: give model.selection=true")
    if "refiner" in alone and not getattr(config, "refiner_width", 0):
        raise UserError("stages: only: refiner needs a model that has one: give model.refiner_width=16")
    first = recipe.stages[0].only
    known = {
        "selection": ("selector.", "the objects that the model finds"),
        "refiner": ("trunk.", "what the model draws"),
    }
    if first is not None and not any(name.startswith(known[first][0]) for name in start.origins):
        raise UserError(
            f"stages: only: {first} learns from {known[first][1]}, and this one has not learned that yet: begin with a "
            "stage that trains all"
        )
