"""The weights that a grounder starts with: from a whole one, from ResNet and RoBERTa, or fresh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from refersat.errors import UserError
from refersat.models.checkpoint import Checkpoint
from refersat.models.configuration import RS2Sam2Config
from refersat.models.folder import read_description
from refersat.models.grounding.language_query import read_tokenizer
from refersat.models.grounding.model import GroundingConfig
from refersat.models.official import few
from refersat.text.phrases import Tokenizer
from refersat.text.roberta import RobertaTokenizer
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.eyes import eye_source
from refersat.training.initialise import Source, Start, checked, configured, empty_model, start_folder
from refersat.training.recipe import Recipe

_NETWORKS: Mapping[str, tuple[str, str]] = {
    "resnet": ("image_network.backbone.", "resnet."),
    "roberta": ("text_network.encoder.", "roberta."),
}
"""Field of `init` -> beginning of our names, and of those on disk where the network lies in a model with a head."""


def plan_grounder_start(recipe: Recipe) -> Start:
    """Find out what the recipe's grounder is and where its weights come from, reading no weight.

    Raises:
        UserError: a file is missing or damaged, holds other weights than it should, or weights of other sizes than the
            model's; or the recipe describes no possible model.
    """
    init = recipe.init
    unfit = [name for name in ("sam2", "beit3") if getattr(init, name) is not None]
    if unfit:
        raise UserError(f"init.{unfit[0]} is not for grounders, which base {recipe.base} is one of")
    if init.model is not None:
        folder = start_folder(init.model)
        kind = read_description(folder).get("model_type")
        if recipe.base == "built-in-grounder" and kind == RS2Sam2Config.model_type:
            return _behind_eye(recipe, init.model)
        before = _config_of(folder)
        config = configured(recipe, before)
        checkpoint = Checkpoint.find(folder)
        found = [Source(init.model, checkpoint, {name: (name,) for name in checkpoint.entries})]
        if config.image_network == "eye":
            found.append(eye_source(config.eye_model, beside=folder).source)
        start = Start(config, tuple(found), read_tokenizer(folder, config))
        return checked(recipe, start, set(empty_model(before).state_dict()))
    base = {"lqvg": GroundingConfig.lqvg, "built-in-grounder": GroundingConfig.built_in}
    config = configured(recipe, base[recipe.base]())
    _check_networks(recipe, config)
    sources = tuple(_network(recipe, config, name) for name in _NETWORKS if getattr(init, name) is not None)
    return checked(recipe, Start(config, sources, _tokenizer(recipe, config)))


def _behind_eye(recipe: Recipe, name: str) -> Start:
    """A fresh one behind the eye of a model, whose selector it begins with."""
    eye = eye_source(name)
    compact = GroundingConfig.behind_eye(eye.description, eye_model=eye.place, eye_sha256=eye.sha256)
    config = configured(recipe, compact)
    sources = [eye.source]
    if config.first_boxes == "objects":
        names = [each for each in eye.source.checkpoint.entries if each.startswith("selector.")]
        sources.append(Source(f"{name}'s selector", eye.source.checkpoint, {each: (each,) for each in names}))
    tokenizer = PhraseTokenizer.from_folder(eye.folder, config.max_text_length)
    return checked(recipe, Start(config, tuple(sources), tokenizer))


def _config_of(folder: Path) -> GroundingConfig:
    description = dict(read_description(folder))
    if description.get("model_type") != GroundingConfig.model_type:
        raise UserError(f"init.model: {folder} holds no grounder, its model_type is {description.get('model_type')}")
    try:
        return GroundingConfig.from_dict(description)
    except Exception as error:  # the many validators of Transformers share no other base
        raise UserError(f"init.model: {folder} describes no possible model: {error}") from error


def _check_networks(recipe: Recipe, config: GroundingConfig) -> None:
    """ResNet's norms are frozen and RoBERTa's words are its tokenizer's: neither can start fresh."""
    for name, has, setting in (
        ("resnet", config.image_network == "resnet", "image_network=convolutions"),
        ("roberta", config.text_network == "roberta", "text_network=lstm"),
    ):
        given = getattr(recipe.init, name)
        if has and given is None:
            raise UserError(
                f"init.{name}: give the folder of a pretrained {name} of Transformers (config.json and "
                f"*.safetensors), or set model.{setting}"
            )
        if given is not None and not has:
            raise UserError(f"init.{name}: the model has no {name}; leave it out")


def _network(recipe: Recipe, config: GroundingConfig, name: str) -> Source:
    folder = getattr(recipe.init, name)
    if not folder.is_dir():
        raise UserError(f"init.{name}: there is no folder {folder}")
    checkpoint = Checkpoint.find(folder)
    ours, theirs = _NETWORKS[name]
    wanted = [one.removeprefix(ours) for one in empty_model(config).state_dict() if one.startswith(ours)]
    beginning = theirs if any(entry.startswith(theirs) for entry in checkpoint.entries) else ""
    missing = [one for one in wanted if beginning + one not in checkpoint.entries]
    if missing:
        raise UserError(f"init.{name}: {folder} lacks {len(missing)} weights: {few(missing)}")
    return Source(folder.name, checkpoint, {ours + one: (beginning + one,) for one in wanted})


def _tokenizer(recipe: Recipe, config: GroundingConfig) -> Tokenizer | None:
    init = recipe.init
    tokenizer: Tokenizer
    if config.text_network == "roberta":
        if init.tokenizer is not None:
            raise UserError("init.tokenizer: RoBERTa has a tokenizer of its own; leave it out")
        assert init.roberta is not None
        tokenizer = RobertaTokenizer(init.roberta, max_length=config.max_text_length)
        if tokenizer.vocab_size > config.vocab_size:
            raise UserError(
                f"init.roberta: {init.roberta} has {tokenizer.vocab_size} tokens, the model {config.vocab_size}"
            )
        return tokenizer
    if init.tokenizer is None:
        return None
    tokenizer = PhraseTokenizer(init.tokenizer, max_length=config.max_text_length)
    config.vocab_size = tokenizer.vocab_size
    return tokenizer
