"""Recipes: everything that decides a training run, as typed and validated fields. `recipe_files` reads them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from refersat.models.losses import BoundaryKind


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Span(_Section):
    """A length of training: steps, or epochs (passes through the samples)."""

    steps: int | None = Field(None, gt=0)
    epochs: float | None = Field(None, gt=0, description="needs `data.train`: generated phrases have no end")

    @model_validator(mode="after")
    def _one_of_both(self) -> Span:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        return self


def _steps_alone(value: Any) -> Any:
    return {"steps": value} if isinstance(value, int) and not isinstance(value, bool) else value


Length = Annotated[Span, BeforeValidator(_steps_alone)]
"""A `Span`; a plain number counts steps."""


class OutlineData(_Section):
    """Images with outlined objects; phrases are generated while training."""

    kind: Literal["outlines"] = "outlines"
    annotations: Path = Field(description="COCO instances file of the training images")
    images: Path = Field(description="folder of its images")
    validation: Path | None = Field(None, description="`triplets` folder to measure the model on")
    never_absent: list[str] = Field([], description="categories that are not labelled everywhere")
    rare: float = Field(0.0, ge=0, le=1, description="categories in fewer than this share of images come more often")
    other_names: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of views whose objects go by names of no category: place and size still tell",
    )
    style: Literal["train", "all"] = Field("all", description="wordings of the generated phrases")


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class SampleData(_Section):
    """Images with phrases and masks, as published or as you made them."""

    kind: Literal["samples"] = "samples"
    train: Annotated[list[str], BeforeValidator(_one_or_more)] = Field(
        min_length=1, description="KIND:PATH of the data, or a list of several"
    )
    split: str = Field("train", description="the part of it that is trained on")
    share: float = Field(
        1.0, gt=0, le=1, description="train on this share of its samples only; a larger share holds a smaller one"
    )
    validation: str | None = Field(None, description="KIND:PATH to measure the model on; null: that of `train`")
    validation_split: str | None = Field("val", description="the part of it that is measured; null: nothing is")
    holdout: float = Field(
        0.0, ge=0, lt=1, description="measure on this share of the training images instead, which are not trained on"
    )
    flip: Literal["none", "left-right", "both"] = Field(
        "none", description="mirror images at random, left to right or also up to down, and rewrite their phrases"
    )
    colour: float = Field(0.0, ge=0, le=1, description="strength of brightness, contrast and saturation changes")
    absent: float = Field(
        0.0, ge=0, lt=1, description="share of phrases taken from another image: of a category that this one has not"
    )
    never_absent: list[str] = Field([], description="categories that are not labelled everywhere")


def _kind_of_data(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("kind", "samples" if "train" in value else "outlines"))
    return str(getattr(value, "kind", "outlines"))


DataOptions = Annotated[
    Annotated[OutlineData, Tag("outlines")] | Annotated[SampleData, Tag("samples")], Discriminator(_kind_of_data)
]


class AugmentOptions(_Section):
    """Random views of an image with outlined objects. Phrases are made after it, so left stays left."""

    crop: float = Field(0.7, ge=0, le=1, description="share of samples that see a crop instead of the whole image")
    smallest_crop: float = Field(0.45, gt=0, le=1, description="smallest side of a crop, relative to the image's")
    flip: bool = Field(True, description="left to right, half of the time")
    rotate: bool = Field(True, description="quarter turns")
    colour: float = Field(0.25, ge=0, le=1, description="strength of brightness, contrast and saturation changes")


class InitOptions(_Section):
    """Where weights come from; what none of these has starts fresh."""

    model: str | None = Field(None, description="name or folder of a whole model: weights, sizes and tokenizer")
    sam2: Path | None = Field(None, description="SAM 2 weights: trunk, neck, prompt encoder, mask decoder")
    beit3: Path | None = Field(None, description="BEiT-3 weights: the union encoder")
    resnet: Path | None = Field(None, description="folder of a ResNet of Transformers: a grounder's image network")
    roberta: Path | None = Field(
        None, description="folder of a RoBERTa of Transformers: a grounder's text network, and its tokenizer"
    )
    tokenizer: Path | None = Field(None, description="SentencePiece model; null: learned from generated sentences")

    @model_validator(mode="after")
    def _whole_or_parts(self) -> InitOptions:
        parts = [name for name, value in self if name != "model" and value is not None]
        if self.model is not None and parts:
            raise ValueError(f"model is whole already: leave out {', '.join(parts)}")
        return self


class PartOptions(_Section):
    """How a part of the model trains."""

    train: bool = Field(True, description="false: it keeps the weights that it starts with")
    learning_rate: float | None = Field(None, gt=0, description="null: optimizer.learning_rate")


class Parts(_Section):
    """The parts of the model; `training.parts` says which parameters are whose."""

    union_encoder: PartOptions = PartOptions()
    projections: PartOptions = Field(PartOptions(), description="of text and class token, and the boundary scalar")
    mask_prompt: PartOptions = PartOptions()
    candidates: PartOptions = Field(PartOptions(), description="what finds all objects of the named kind")
    selection: PartOptions = Field(PartOptions(), description="what tells which of them the phrase means")
    refiner: PartOptions = Field(PartOptions(), description="what draws masks again in pixels")
    trunk: PartOptions = Field(PartOptions(), description="Hiera, without what was added to its blocks")
    neck: PartOptions = PartOptions()
    fusion: PartOptions = Field(PartOptions(), description="of text and image, in the trunk's blocks and behind it")
    adapters: PartOptions = Field(PartOptions(), description="beside the feed-forward networks of the trunk's blocks")
    prompt_encoder: PartOptions = PartOptions()
    mask_decoder: PartOptions = PartOptions()
    image_stem: PartOptions = Field(PartOptions(), description="a grounder's image network, up to stride 4")
    image_network: PartOptions = Field(PartOptions(), description="a grounder's, behind its stem; an eye never trains")
    text_network: PartOptions = Field(PartOptions(), description="a grounder's")
    grounder: PartOptions = Field(PartOptions(), description="all of a grounder but the two networks")


class LossOptions(_Section):
    """Weights of the loss terms; a term that the data cannot give is left out."""

    cross_entropy: float = Field(5.0, ge=0)
    dice: float = Field(1.0, ge=0)
    coarse: float = Field(
        1.0, ge=0, description="the mask, by a head on what the decoder sees that is thrown away later"
    )
    boundary: float = Field(0.2, ge=0)
    boundary_kind: BoundaryKind = Field("soft", description="released: of hard masks, which it cannot teach")
    presence: float = Field(0.5, ge=0, description="is the target there; left out where every target is")
    pseudo_mask: float = Field(1.0, ge=0, description="coarse target for the mask prompt generator")
    categories: float = Field(
        1.0, ge=0, description="what every pixel shows, by a head that is thrown away later; outlines only"
    )
    named: float = Field(
        0.5, ge=0, description="what category the phrase names, by a head that is thrown away later; outlines only"
    )
    candidates: float = Field(
        1.0, ge=0, description="all objects of the named category, by the candidate finder; outlines only"
    )
    candidate_dice: float = Field(
        0.0, ge=0, description="their overlap: `candidates` alone would rather have them too large than too small"
    )
    edges: float = Field(0.1, ge=0, description="the boxes of objects, by the candidate finder; outlines only")
    objects: float = Field(1.0, ge=0, description="what shows an object of any kind, by the selector; outlines only")
    selection: float = Field(1.0, ge=0, description="which of the objects the phrase means, by the selector")
    refinement: float = Field(1.0, ge=0, description="the masks in pixels, by the refiner, in a stage of its own")
    mask_iou: float = Field(1.0, ge=0, description="how good its masks are, by a compact SAM")


class BoxLossOptions(_Section):
    """A grounder's losses after every decoder layer, and the same costs where boxes are matched with targets.

    Beside them a grounder knows `categories` and `named` of `loss`.
    """

    focal: float = Field(2.0, ge=0, description="of the scores; where the phrase names nothing, all are to be low")
    box: float = Field(5.0, ge=0, description="L1 distance of the boxes")
    giou: float = Field(2.0, ge=0, description="generalised IoU of the boxes")


class Stage(Span):
    """A part of the schedule with views of one size."""

    image_size: int = Field(gt=0, multiple_of=32)
    batch_size: int = Field(gt=0, description="views of one step over all processes")
    loss: LossOptions | None = Field(None, description="instead of the recipe's")
    only: Literal["selection", "refiner"] | None = Field(
        None,
        description="train this part alone, with a rate that rises and falls anew, on what the model as it is then "
        "sees, or draws, of so many `views`; outlines only. A refiner's batches are windows of them",
    )
    once: bool = Field(
        False,
        description="look at `views` views once with the frozen eye of the model, and learn from what it saw; "
        "for networks that have one, outlines only",
    )
    views: int = Field(
        3000, gt=0, description="with `only` or `once`: how many are looked at, once, and asked about again and again"
    )
    phrases_per_view: int = Field(
        1, ge=0, description="or prompts, or masks for a refiner; 0: only what the views show is learned; outlines only"
    )


class Drop(Span):
    """A lower rate for the last steps or epochs."""

    factor: float = Field(0.1, gt=0, le=1)


class OptimizerOptions(_Section):
    """Linear warm-up, a constant rate, and a linear cool-down to nothing or a drop at the end.

    Up to these a run does not depend on how long it will be, so it can be lengthened while it runs.
    """

    kind: Literal["adamw", "muon"] = Field("adamw", description="muon: for training from scratch; see muon.py")
    learning_rate: float = Field(6e-4, gt=0)
    weight_decay: float = Field(0.05, ge=0, description="not on norms, biases and position tables")
    warm_up: int = Field(300, ge=0, description="steps")
    cool_down: float = Field(0.3, ge=0, le=1, description="share of all steps")
    drop: Drop | None = Field(None, description="for example {epochs: 10, factor: 0.1}")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    accumulate: int = Field(1, gt=0, description="parts in which each process works off its share of a batch")
    average: float | None = Field(
        0.998, ge=0, lt=1, description="decay of the moving average that is measured and saved; null: the weights are"
    )
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of matrix products and convolutions; bfloat16 where the processor has it"
    )
    activation_checkpointing: bool = Field(False, description="less memory for a third more time")
    compiled: bool = Field(
        False,
        description="have PyTorch compile blocks of trunk and union encoder: for GPUs; the first step takes minutes",
    )


Base = Literal["built-in", "large", "evf-sam2", "built-in-grounder", "lqvg", "built-in-sam", "sam"]

_TRAINS: Mapping[str, Literal["grounder", "prompted"]] = {
    "built-in-grounder": "grounder",
    "lqvg": "grounder",
    "built-in-sam": "prompted",
    "sam": "prompted",
}


class Recipe(_Section):
    """A training run."""

    name: str = Field(pattern=r"^[\w-][\w.-]*$", description="of the run's folder, unless told otherwise")
    seed: int = Field(0, ge=0)
    base: Base = Field(
        "built-in",
        description="kind and configuration of a new model; built-in-grounder and lqvg are grounders; built-in-sam is "
        "a compact SAM 2, sam any SAM of `init.model`",
    )
    model: dict[str, Any] = Field({}, description="changes to that configuration, or to that of init.model")
    init: InitOptions = InitOptions()
    tokenizer_sentences: int = Field(60_000, gt=0, description="generated sentences the vocabulary is learned from")
    data: DataOptions
    augment: AugmentOptions = AugmentOptions()
    loss: LossOptions = LossOptions()
    box_loss: BoxLossOptions = Field(BoxLossOptions(), description="weights of a grounder's loss terms")
    parts: Parts = Parts()
    stages: list[Stage] = Field(min_length=1)
    optimizer: OptimizerOptions = OptimizerOptions()
    sharded: bool = Field(
        False, description="spread weights and optimizer over the processes (FSDP), not the batch only"
    )
    seen: Path | None = Field(
        None,
        description="folder for what stages with `once` see, which recipes may share; null: in the run's folder",
    )
    workers: int = Field(1, gt=0, description="processes that load data, for each process that trains")
    validate_every: Length = Span(steps=500)
    validation_samples: int | None = Field(200, gt=0, description="evenly spread over the set; null: all")
    save_every: Length | None = Field(None, description="state to go on from; null: after each validation")
    keep: int = Field(2, gt=0, description="how many of the last states are kept")
    log_samples: bool = Field(True, description="write the loss terms of every phrase to samples.jsonl")
    tensorboard: bool = Field(False, description="also write what TensorBoard shows, with pictures of answers")

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.optimizer.compiled and self.trains != "segmenter":
            raise ValueError(f"optimizer: compiled is for RS2-SAM 2, and base {self.base} is none")
        if any(stage.only == "refiner" and not stage.phrases_per_view for stage in self.stages):
            raise ValueError("stages: only: refiner needs masks of each view: phrases_per_view > 0")
        for before, after in pairwise(self.stages):
            same = all(getattr(before, name) == getattr(after, name) for name in ("image_size", "views"))
            if before.only == after.only == "refiner" and not same:
                raise ValueError(
                    "stages: two with only: refiner one after the other learn from the same views: give both the same "
                    "image_size and views"
                )
        if not self.stages[-1].phrases_per_view:
            raise ValueError("stages: the last stage must train all that will run: phrases_per_view > 0")
        if not self.loss.categories and any(not stage.phrases_per_view for stage in self.stages):
            raise ValueError("stages: without phrases loss.categories alone can teach, and it is 0")
        if isinstance(self.data, SampleData):
            if any(stage.phrases_per_view != 1 for stage in self.stages):
                raise ValueError("stages: phrases_per_view is for data.annotations: a sample has one phrase")
            if any(stage.once for stage in self.stages):
                raise ValueError("stages: once is for data.annotations: it asks about many objects of each view")
            if any(stage.only for stage in self.stages):
                raise ValueError("stages: only is for data.annotations: it needs many phrases about each view")
            if self.data.holdout and self.data.validation is not None:
                raise ValueError("data: give either holdout or validation")
        elif any(span.epochs is not None for span in self._spans()):
            raise ValueError("epochs need data.train: generated phrases have no end; give steps")
        return self

    @property
    def trains(self) -> Literal["segmenter", "grounder", "prompted"]:
        """What kind of model it is about."""
        return _TRAINS.get(self.base, "segmenter")

    @property
    def steps(self) -> int | None:
        """Steps of all stages together; None where epochs are counted."""
        steps = [stage.steps for stage in self.stages if stage.steps is not None]
        return sum(steps) if len(steps) == len(self.stages) else None

    def _spans(self) -> list[Span]:
        optional = (self.save_every, self.optimizer.drop)
        return [*self.stages, self.validate_every, *(span for span in optional if span is not None)]
