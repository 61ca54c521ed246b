"""The network that boxes and points prompt, and the weights that it starts with."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, Sam2Model, SamModel

from refersat.errors import UserError
from refersat.models.folder import read_description
from refersat.models.peers.preparation import Preparation
from refersat.models.prompted.compact import CompactSam, CompactSamConfig, CompactSamModel
from refersat.models.prompted.loading import load_prompted
from refersat.models.prompted.own import OwnSam
from refersat.models.prompted.sam1 import Sam1
from refersat.models.prompted.sam2 import Sam2
from refersat.models.prompted.segmenter import PromptedSegmenter
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.models.zoo import BUILT_IN
from refersat.training.eyes import eye_source
from refersat.training.initialise import Start, checked, configured, start_folder
from refersat.training.recipe import Recipe

_ABOUT_IMAGES = ("preprocessor_config.json", "processor_config.json")


class NoPhrases:
    """In a tokenizer's place: what else lies in a promptable network's folder, and no words.

    Args:
        folder: of the network.
    """

    vocab_size = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = [folder / name for name in _ABOUT_IMAGES if (folder / name).is_file()]

    def __call__(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Phrases are not read: no tokens."""
        return torch.zeros(len(phrases), 0, dtype=torch.long), torch.zeros(len(phrases), 0, dtype=torch.bool)

    def save(self, folder: str | Path) -> None:
        """Copy the files."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        for file in self._files:
            shutil.copyfile(file, Path(folder) / file.name)


@dataclass(frozen=True)
class PromptedStart(Start):
    """A whole network from its folder, in whatever names its weights are kept there."""

    folder: Path = field(default_factory=Path)

    def fill(self, model: PreTrainedModel) -> None:
        """Copy the weights into a model of `config`."""
        loaded = load_prompted(self.folder, device=torch.device("cpu"))
        model.load_state_dict(loaded.network.state_dict())


def plan_prompted_start(recipe: Recipe) -> Start:
    """Find out what the recipe's network is and where its weights come from.

    Raises:
        UserError: a file is missing or damaged, or describes no possible model, or the recipe asks for what cannot be.
    """
    unfit = [name for name, value in recipe.init if name != "model" and value is not None]
    if unfit:
        raise UserError(f"init.{unfit[0]} is not for base {recipe.base}: give init.model")
    if recipe.base == "built-in-sam" and recipe.init.model is None:
        return _compact(recipe, BUILT_IN)
    if recipe.init.model is None:
        raise UserError("init.model: base sam needs the folder of a SAM 2, a SAM, or a compact SAM of ours")
    folder = start_folder(recipe.init.model)
    kind = read_description(folder).get("model_type")
    if recipe.base == "built-in-sam" and kind == RS2Sam2Model.config_class.model_type:
        return _compact(recipe, recipe.init.model)
    if recipe.base == "built-in-sam" and kind != CompactSamConfig.model_type:
        raise UserError(f"init.model: {folder} is neither a compact SAM nor a model whose eye one could have")
    if recipe.model:
        raise UserError(f"recipe {recipe.name}: model: the network of init.model is taken as it is")
    network: Any = load_prompted(folder, device=torch.device("cpu")).network
    origins = dict.fromkeys(network.state_dict(), recipe.init.model)
    return PromptedStart(network.config, tokenizer=NoPhrases(folder), origins=origins, folder=folder)


def _compact(recipe: Recipe, name: str) -> Start:
    """A fresh one behind the eye of a model."""
    eye = eye_source(name)
    config = configured(recipe, CompactSamConfig(eye=eye.description, eye_model=eye.place, eye_sha256=eye.sha256))
    return checked(recipe, Start(config, (eye.source,), NoPhrases(eye.folder)))


def segmenter_of(model: PreTrainedModel, folder: Path) -> PromptedSegmenter:
    """A network as what it can be asked; `folder` says how its images are prepared."""
    if isinstance(model, CompactSamModel):
        return CompactSam(model)
    if isinstance(model, RS2Sam2Model):
        return OwnSam(model)
    if isinstance(model, SamModel):
        return Sam1(model)
    assert isinstance(model, Sam2Model)
    return Sam2(model, Preparation().read(folder))
