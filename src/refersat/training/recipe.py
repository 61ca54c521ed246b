"""Recipes: everything that decides a training run, as a typed and validated file.

A typo is an error that names the field. `--set a.b=c` overrides a value; the resolved recipe is saved beside the
weights.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from refersat.errors import UserError


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataOptions(_Section):
    """Images with outlined objects; phrases are generated while training."""

    annotations: Path = Field(description="COCO instances file of the training images")
    images: Path = Field(description="folder of its images")
    validation: Path | None = Field(None, description="`triplets` folder to measure the model on")
    never_absent: list[str] = Field([], description="categories that are not labelled everywhere")
    rare: float = Field(0.0, ge=0, le=1, description="categories in fewer than this share of images come more often")
    style: Literal["train", "all"] = Field("all", description="wordings of the generated phrases")


class AugmentOptions(_Section):
    """Random views of an image. Phrases are made after it, so left stays left."""

    crop: float = Field(0.7, ge=0, le=1, description="share of samples that see a crop instead of the whole image")
    smallest_crop: float = Field(0.45, gt=0, le=1, description="smallest side of a crop, relative to the image's")
    flip: bool = Field(True, description="left to right, half of the time")
    rotate: bool = Field(True, description="quarter turns")
    colour: float = Field(0.25, ge=0, le=1, description="strength of brightness, contrast and saturation changes")


class LossOptions(_Section):
    """Weights of the loss terms."""

    cross_entropy: float = Field(5.0, ge=0)
    dice: float = Field(1.0, ge=0)
    coarse: float = Field(
        1.0, ge=0, description="the mask, by a head on what the decoder sees that is thrown away later"
    )
    boundary: float = Field(0.2, ge=0)
    presence: float = Field(0.5, ge=0, description="is the target there")
    pseudo_mask: float = Field(1.0, ge=0, description="coarse target for the mask prompt generator")
    categories: float = Field(1.0, ge=0, description="what every pixel shows, by a head that is thrown away later")
    candidates: float = Field(1.0, ge=0, description="all objects of the named category, by the candidate finder")
    candidate_dice: float = Field(
        0.0, ge=0, description="their overlap: `candidates` alone would rather have them too large than too small"
    )
    edges: float = Field(0.1, ge=0, description="the boxes of objects, by the candidate finder")
    named: float = Field(0.5, ge=0, description="what category the phrase names, by a head that is thrown away later")


class Stage(_Section):
    """A part of the schedule with views of one size."""

    steps: int = Field(gt=0)
    image_size: int = Field(gt=0, multiple_of=32)
    batch_size: int = Field(gt=0, description="views of one step over all processes")
    loss: LossOptions | None = Field(None, description="instead of the recipe's")
    phrases_per_view: int = Field(1, ge=0, description="0: only what the views show is learned")


class OptimizerOptions(_Section):
    """Linear warm-up, a constant rate, and a linear cool-down to nothing.

    Up to the cool-down a run does not depend on how long it will be, so it can be lengthened while it runs.
    """

    kind: Literal["adamw", "muon"] = Field("adamw", description="muon: for training from scratch; see muon.py")
    learning_rate: float = Field(6e-4, gt=0)
    weight_decay: float = Field(0.05, ge=0, description="not on norms, biases and position tables")
    warm_up: int = Field(300, ge=0, description="steps")
    cool_down: float = Field(0.3, ge=0, le=1, description="share of all steps")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    average: float = Field(0.998, ge=0, lt=1, description="decay of the moving average that is saved")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="of matrix products and convolutions; bfloat16 where the processor has it"
    )


class Recipe(_Section):
    """A training run from scratch on generated phrases."""

    name: str = Field(pattern=r"^[\w-][\w.-]*$", description="of the run's folder, unless told otherwise")
    seed: int = Field(0, ge=0)
    model: dict[str, Any] = Field({}, description="changes to the built-in model's configuration")
    tokenizer_sentences: int = Field(60_000, gt=0, description="generated sentences the vocabulary is learned from")
    data: DataOptions
    augment: AugmentOptions = AugmentOptions()
    loss: LossOptions = LossOptions()
    stages: list[Stage] = Field(min_length=1)
    optimizer: OptimizerOptions = OptimizerOptions()
    validate_every: int = Field(500, gt=0, description="steps")
    validation_samples: int = Field(200, gt=0, description="of the validation set, evenly spread")

    @field_validator("stages")
    @classmethod
    def _ends_with_phrases(cls, stages: list[Stage]) -> list[Stage]:
        if not stages[-1].phrases_per_view:
            raise ValueError("the last stage must train all that will run: phrases_per_view > 0")
        return stages

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> Stage:
        """The stage that a step (from 0) belongs to."""
        for stage in self.stages:
            if step < stage.steps:
                return stage
            step -= stage.steps
        return self.stages[-1]


def load_recipe(source: str, overrides: list[str]) -> Recipe:
    """Read a recipe file, or one that ships with the package by its name, and apply `a.b=c` overrides.

    Raises:
        UserError: no such recipe, or a field is unknown, missing or out of range.
    """
    content = _read(source)
    for override in overrides:
        _apply(content, override)
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors())
        raise UserError(f"recipe {source}: {faults} (give fields in the recipe, or with --set FIELD=VALUE)") from None


def shipped_recipes() -> list[str]:
    """Names of the recipes in the package."""
    folder = resources.files("refersat") / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _read(source: str) -> dict[str, Any]:
    if source in shipped_recipes():
        text = (resources.files("refersat") / "recipes" / f"{source}.yaml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            known = ", ".join(shipped_recipes())
            raise UserError(f"cannot read the recipe {source}: {reason}; these ship with refersat: {known}") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"recipe {source} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"recipe {source} holds no fields")
    return content


def _apply(content: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set takes FIELD=VALUE (for example optimizer.learning_rate=1e-4), not {override!r}")
    *parents, last = path.split(".")
    section = content
    for parent in parents:
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
        if not isinstance(section, dict):
            raise UserError(f"--set {override}: {parent} has no named fields; set the whole of it")
    try:
        section[last] = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not valid YAML: {' '.join(str(error).split())}") from None
