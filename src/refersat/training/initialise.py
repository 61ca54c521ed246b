"""The weights that a run starts with: from a whole model, from SAM 2 and BEiT-3, or fresh."""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from transformers import PreTrainedConfig, PreTrainedModel, Sam2Model, SamConfig, SamModel

from refersat.errors import UserError
from refersat.models.checkpoint import Checkpoint
from refersat.models.grounding.model import GroundingConfig, GroundingModel
from refersat.models.identity import model_folder
from refersat.models.loading import read_folder
from refersat.models.official import few, joined, plan_conversion
from refersat.models.prompted.compact import CompactSamConfig, CompactSamModel
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.phrases import Tokenizer
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.recipe import Recipe

ModelConfig: TypeAlias = RS2Sam2Config | GroundingConfig | CompactSamConfig
Config = TypeVar("Config", RS2Sam2Config, GroundingConfig, CompactSamConfig)


@dataclass(frozen=True)
class Source:
    """A file or folder of weights: our parameter name -> the names on disk whose tensors make it."""

    name: str
    checkpoint: Checkpoint
    names: Mapping[str, tuple[str, ...]]

    def shape(self, name: str) -> tuple[int, ...]:
        """Of one of our parameters."""
        first, *rest = (self.checkpoint.entries[one].shape for one in self.names[name])
        return (first[0] + sum(shape[0] for shape in rest), *first[1:]) if rest else first


@dataclass(frozen=True)
class Start:
    """What a run starts with, listed but not yet loaded.

    Attributes:
        config: of the model.
        sources: of weights; no two have the same parameter.
        tokenizer: None where one is to be learned.
        origins: parameter -> the name of its source; what is not here starts fresh.
    """

    config: ModelConfig
    sources: tuple[Source, ...] = ()
    tokenizer: Tokenizer | None = None
    origins: Mapping[str, str] = field(default_factory=dict)

    def fill(self, model: PreTrainedModel) -> None:
        """Copy the weights into a model of `config`."""
        targets = model.state_dict()
        with torch.no_grad():
            for source in self.sources:
                owners = {one: name for name, ones in source.names.items() for one in ones}
                waiting: dict[str, dict[str, torch.Tensor]] = {}
                for group in source.checkpoint.groups(owners):
                    for one, tensor in group.items():
                        name = owners[one]
                        parts = waiting.setdefault(name, {})
                        parts[one] = tensor.clone()
                        if len(parts) == len(source.names[name]):
                            targets[name].copy_(joined([parts[part] for part in source.names[name]]))
                            del waiting[name]


def plan_start(recipe: Recipe) -> Start:
    """Find out what the recipe's model is and where its weights come from, reading no weight.

    Raises:
        UserError: a file is missing or damaged, holds other weights than it should, or weights of other sizes than the
            model's; or the recipe describes no possible model.
    """
    init = recipe.init
    if init.model is not None:
        read = read_folder(start_folder(init.model))
        config = configured(recipe, read.config)
        source = Source(init.model, read.checkpoint, read.sources)
        before = set(empty_model(read.config).state_dict())
        return checked(recipe, Start(config, (source,), read.tokenizer), before)
    unfit = [name for name in ("resnet", "roberta") if getattr(init, name) is not None]
    if unfit:
        raise UserError(f"init.{unfit[0]} is for grounders; base {recipe.base} is none")
    base = {"built-in": RS2Sam2Config.built_in, "large": RS2Sam2Config.large, "evf-sam2": RS2Sam2Config.evf_sam2}
    config = configured(recipe, base[recipe.base]())
    sources = tuple(
        _released(getattr(init, family), family) for family in ("sam2", "beit3") if getattr(init, family) is not None
    )
    tokenizer = None
    if init.tokenizer is not None:
        tokenizer = PhraseTokenizer(init.tokenizer, max_length=config.max_text_length)
        if init.beit3 is None:
            config.vocab_size = tokenizer.vocab_size
        elif tokenizer.vocab_size > config.vocab_size:
            raise UserError(
                f"init.tokenizer: {init.tokenizer} has {tokenizer.vocab_size} tokens, the model {config.vocab_size}"
            )
    elif init.beit3 is not None:
        raise UserError("init.beit3 needs its tokenizer, beit3.spm: give init.tokenizer")
    return checked(recipe, Start(config, sources, tokenizer))


def start_folder(name: str) -> Path:
    """The folder of `init.model`.

    Raises:
        UserError: there is none.
    """
    folder = model_folder(name)
    if not folder.is_dir():
        raise UserError(
            f"init.model: there is no folder {folder}: give that of a model, or run `refersat models fetch` first"
        )
    return folder


def fresh_model(config: PreTrainedConfig) -> PreTrainedModel:
    """A model that has learned nothing, of ours or a SAM of Transformers."""
    ours: dict[type[PreTrainedConfig], type[PreTrainedModel]] = {
        RS2Sam2Config: RS2Sam2Model,
        GroundingConfig: GroundingModel,
        CompactSamConfig: CompactSamModel,
        SamConfig: SamModel,
    }
    return ours.get(type(config), Sam2Model)(config)


def empty_model(config: PreTrainedConfig) -> PreTrainedModel:
    """A model without memory for its weights."""
    with torch.device("meta"):
        return fresh_model(config)


def configured(recipe: Recipe, base: Config) -> Config:
    """A configuration with the recipe's changes.

    Raises:
        UserError: they name what it has not, or describe no possible model.
    """
    known: dict[str, Any] = base.to_dict()
    unknown = sorted(set(recipe.model) - set(known))
    if unknown:
        raise UserError(f"recipe {recipe.name}: model has no setting named {', '.join(unknown)}")
    try:
        config = type(base)(**{**known, **recipe.model})
        empty_model(config)
    except Exception as error:  # the many validators of Transformers share no other base
        raise UserError(f"recipe {recipe.name}: model describes no possible model: {error}") from error
    return config


def _released(file: Path, family: str) -> Source:
    """SAM 2 or BEiT-3 as released."""
    if not file.is_file():
        raise UserError(f"init.{family}: there is no weight file {file}")
    checkpoint = Checkpoint.open([file])
    plan = plan_conversion(checkpoint.entries)
    if plan.family != family:
        raise UserError(f"init.{family}: {file} holds weights of {plan.family}")
    return Source(file.name, checkpoint, plan.sources)


def checked(recipe: Recipe, start: Start, whole: Set[str] = frozenset()) -> Start:
    """The start with the origin of every parameter, once all weights are found to fit.

    What is new in the recipe's configuration may be missing; nothing of the `whole` model that it begins with may.

    Raises:
        UserError: they do not fit the model, or some of the whole model are missing.
    """
    shapes = {name: tuple(tensor.shape) for name, tensor in empty_model(start.config).state_dict().items()}
    origins: dict[str, str] = {}
    for source in start.sources:
        wrong = [
            f"{name} {list(source.shape(name))} instead of {list(shapes.get(name, ()))}"
            for name in source.names
            if source.shape(name) != shapes.get(name)
        ]
        if wrong:
            raise UserError(
                f"recipe {recipe.name}: {len(wrong)} weights of {source.name} do not fit the model: {few(wrong)}"
            )
        origins |= dict.fromkeys(source.names, source.name)
    missing = sorted(whole & set(shapes) - set(origins))
    if missing:
        raise UserError(f"recipe {recipe.name}: {recipe.init.model} lacks {few(missing)}")
    return Start(start.config, start.sources, start.tokenizer, origins)
