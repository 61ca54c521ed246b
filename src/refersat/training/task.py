"""What recipes can train. A task is all that differs from one kind of model to the next; the rest is the loop's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from refersat.data.samples import Sample
    from refersat.text.phrases import Tokenizer
    from refersat.training.batch import AnyBatch, View
    from refersat.training.devices import Devices
    from refersat.training.generated import PhraseSampler
    from refersat.training.initialise import Start
    from refersat.training.journal import Picture
    from refersat.training.recipe import LossOptions, Parts, Recipe, Stage
    from refersat.training.seen import SeenViews
    from refersat.training.setup import Setup
    from refersat.training.stream import Sampler
    from refersat.training.trainee import AnyTrainee


class Task(Protocol):
    """A kind of model with its losses, batches and scores; configurations and models are those of its kind."""

    boxes_suffice: bool
    """Whether samples that have a box and no mask can be trained on."""

    def plan_start(self, recipe: Recipe) -> Start:
        """See `initialise.plan_start`."""

    def model(self, config: Any) -> PreTrainedModel:
        """A fresh model."""

    def trainee(self, model: Any, setup: Setup) -> AnyTrainee:
        """The model with its losses."""

    def freeze(self, model: Any, parts: Parts, loss: LossOptions) -> None:
        """Freeze what the recipe says, and every parameter that can then receive no gradient."""

    def read_tokenizer(self, folder: Path, config: Any) -> Tokenizer:
        """The tokenizer that a run, or a trained model, has in its folder."""

    def collate(self, views: Sequence[View], tokenizer: Tokenizer, config: Any) -> AnyBatch:
        """Put views together; `config.image_size` is the side of `pixel_values`."""

    def seen_sampler(
        self, seen: SeenViews, sampler: PhraseSampler, stage: Stage, model: Any, tokenizer: Any
    ) -> Sampler:
        """What makes batches of views that the model's eye has seen; for models that have one.

        Args:
            seen: the views.
            sampler: that they are of.
            stage: for which.
            model: with weights of which those that find objects are the last.
            tokenizer: of phrases.
        """

    def empty_batch(self, config: Any, stage: Stage, views: int, *, outlines: bool) -> AnyBatch:
        """A batch of so many views without values (PyTorch's meta device)."""

    def validate(
        self,
        devices: Devices,
        model: Any,
        tokenizer: Any,
        samples: Sequence[Sample],
        image_size: int,
        on_sample: Callable[[], None],
    ) -> dict[str, Any]:
        """Scores at this image size, mIoU among them: the same in every process, {} without samples.

        `on_sample` is called after each sample; where it raises `CutShort`, this process leaves the rest of its share.
        """

    def pictures(self, devices: Devices, model: Any, tokenizer: Any, samples: Sequence[Sample]) -> list[Picture]:
        """The answers to a few samples, drawn."""


def task_of(recipe: Recipe) -> Task:
    """The task of a recipe, by its `base`."""
    if recipe.trains == "grounder":
        from refersat.training.grounding.task import Grounding

        return Grounding()
    if recipe.trains == "prompted":
        from refersat.training.prompted.task import Prompted

        return Prompted()
    from refersat.training.segmentation import Segmentation

    return Segmentation()
