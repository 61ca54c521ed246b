"""From a name or a folder to a model that is ready to run. A folder never touches the network.

A model is built without memory for its weights and then filled from disk, group by group, in the number format and on
the device where it will run: at no time are there two copies of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from refersat.errors import UserError
from refersat.models import peers, zoo
from refersat.models.answering import Answerer, RS2Sam2Answerer
from refersat.models.checkpoint import Checkpoint
from refersat.models.folder import CONFIG_FILE, read_description
from refersat.models.official import few, joined, plan_conversion
from refersat.models.official_config import released_config
from refersat.models.optimized import can_optimize, optimize
from refersat.models.pslg import PSLG_FILE, is_pslg
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.models.zoo import ModelCard
from refersat.text.tokenizer import TOKENIZER_FILE, PhraseTokenizer

if TYPE_CHECKING:
    from torch import Tensor

TOKENIZER_FILES = (TOKENIZER_FILE, "beit3.spm")
"""Names under which a folder may hold its SentencePiece model; the second is BEiT-3's own."""

OWN_TYPE = RS2Sam2Config.model_type
RELEASED_TYPE = "evf"

_KEPT_FLOAT32 = "shared_embedding.positional_embedding"
"""Fourier frequencies of positions, multiplied by up to 2 pi: in half precision far positions would blur."""


class Loaded(Protocol):
    """A loaded model of any kind.

    Attributes:
        name: its name, or that of its folder.
        card: what is known about it, if anything.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def card(self) -> ModelCard | None: ...  # noqa: D102

    def answerer(self, *, device: torch.device, dtype: torch.dtype, fast: bool = False, int8: bool = False) -> Answerer:
        """What answers with it.

        Args:
            device: where it was loaded.
            dtype: in which number format.
            fast: have the model itself made faster, where that is possible; it is for this answerer alone then.
            int8: keep weights in 8 bits, where `check_int8` allows it.
        """


@dataclass(frozen=True)
class LoadedModel:
    """A model of ours in evaluation mode with what belongs to it.

    Attributes:
        model: on its device, in its number format.
        tokenizer: of its phrases.
        name: its name, or that of its folder.
        card: what is known about it, if anything.
    """

    model: RS2Sam2Model
    tokenizer: PhraseTokenizer
    name: str
    card: ModelCard | None

    def answerer(self, *, device: torch.device, dtype: torch.dtype, fast: bool = False, int8: bool = False) -> Answerer:
        """See `Loaded.answerer`."""
        answerer = RS2Sam2Answerer(self.model, self.tokenizer, device=device, dtype=dtype)
        if fast:
            optimize(self.model, device, dtype, int8=int8)
        return answerer


@dataclass(frozen=True)
class LoadedAnswerer:
    """A model that is ready to answer as it was loaded: a peer, or a PSLG-SAM.

    Attributes:
        ready: on its device, in its number format.
        name: its name, or that of its folder.
        card: what is known about it, if anything.
    """

    ready: Answerer
    name: str
    card: ModelCard | None

    def answerer(self, *, device: torch.device, dtype: torch.dtype, fast: bool = False, int8: bool = False) -> Answerer:
        """See `Loaded.answerer`; the model knows device and format from when it was loaded, and has no faster form."""
        assert not int8
        return self.ready


@dataclass(frozen=True)
class ModelFolder:
    """A model folder, read but for its weights' values: ours, or as released.

    Attributes:
        folder: where it is.
        config: of the model.
        checkpoint: the weights on disk.
        sources: our parameter name -> the names on disk whose tensors make it.
        tokenizer: its tokenizer.
    """

    folder: Path
    config: RS2Sam2Config
    checkpoint: Checkpoint
    sources: Mapping[str, tuple[str, ...]]
    tokenizer: PhraseTokenizer


def load_model(
    name_or_folder: str | Path,
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Loaded:
    """Load a model by its name or from a folder: ours, a released one, a PSLG-SAM, or a peer's.

    Args:
        name_or_folder: a name of `zoo.names()`, or a folder. A name wins over a folder of that name: write ./name then.
        device: where it is to run.
        dtype: number format of its weights.

    Raises:
        UserError: no such name or folder, a model not fetched yet, or files that are missing, damaged or do not fit.
    """
    folder, name = locate(name_or_folder)
    card = ModelCard.read(folder)
    if is_pslg(folder):
        from refersat.models.pslg.folder import load as load_pslg  # OpenCV and more, which other models do without

        return LoadedAnswerer(load_pslg(folder, device=torch.device(device)), name, card)
    if peers.is_peer(folder):
        return LoadedAnswerer(peers.load(folder, device=torch.device(device), dtype=dtype), name, card)
    read = read_folder(folder)
    return LoadedModel(build(read, device=device, dtype=dtype), read.tokenizer, name, card)


def check_int8(name_or_folder: str | Path, device: torch.device, dtype: torch.dtype, *, fast: bool) -> None:
    """See that a model's weights can be kept in 8 bits, before they are read.

    Args:
        name_or_folder: as for `load_model`.
        device: where it is to run.
        dtype: in which number format it computes.
        fast: whether its fast form is wanted.

    Raises:
        UserError: they cannot, or there is no such model.
    """
    if device.type != "cpu":
        raise UserError(f"weights in int8 are for CPUs, not for {device}: give --device cpu or --dtype auto")
    if not (fast and can_optimize(device, dtype)):
        raise UserError(
            "weights in int8 need a model's fast form, which is not wanted here or needs a PyTorch with oneDNN: "
            "give --dtype auto"
        )
    folder, name = locate(name_or_folder)
    if is_pslg(folder) or peers.is_peer(folder):
        raise UserError(f"weights in int8 are for RS2-SAM 2 and EVF-SAM 2 models, not for {name}: give --dtype auto")


def read_folder(folder: Path, *, tokenizer: Path | None = None) -> ModelFolder:
    """Read everything of a model folder but the values of its weights, and see that it fits together.

    Args:
        folder: ours or a released one.
        tokenizer: the SentencePiece model to use instead of the folder's own.

    Raises:
        UserError: something is missing, damaged, or does not fit.
    """
    description = read_description(folder)
    model_type = description.get("model_type")
    if model_type not in (OWN_TYPE, RELEASED_TYPE):
        raise UserError(
            f"{folder / CONFIG_FILE} says model_type {json.dumps(model_type)}; refersat runs {OWN_TYPE} (its own), "
            f"{RELEASED_TYPE} (released RS2-SAM 2 and EVF-SAM 2), PSLG-SAM ({PSLG_FILE}) and {peers.KINDS}"
        )
    checkpoint = Checkpoint.find(folder)
    if model_type == RELEASED_TYPE:
        plan = plan_conversion(checkpoint.entries)
        shapes = {name: entry.shape for name, entry in checkpoint.entries.items()}
        config = released_config(plan, shapes, description)
        sources: Mapping[str, tuple[str, ...]] = plan.sources
    else:
        config = _own_config(folder, description)
        sources = {name: (name,) for name in checkpoint.entries}
    phrases = PhraseTokenizer(tokenizer or _tokenizer_file(folder), max_length=config.max_text_length)
    if phrases.vocab_size > config.vocab_size:
        raise UserError(
            f"the tokenizer of {folder} has {phrases.vocab_size} tokens, more than the model's {config.vocab_size}: "
            f"it belongs to another model"
        )
    return ModelFolder(folder, config, checkpoint, sources, phrases)


def build(read: ModelFolder, *, device: torch.device | str, dtype: torch.dtype) -> RS2Sam2Model:
    """Build the model of a folder and fill it: in evaluation mode, on `device`, in `dtype`.

    Raises:
        UserError: names or shapes of the weights do not fit the configuration.
    """
    model = _empty_model(read)
    _check_fit(read, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()})
    owners = {source: name for name, sources in read.sources.items() for source in sources}
    waiting: dict[str, dict[str, Tensor]] = {}
    for group in read.checkpoint.groups(owners):
        ready = {}
        while group:
            source, tensor = group.popitem()
            name = owners[source]
            parts = waiting.setdefault(name, {})
            parts[source] = _placed(tensor, name, device, dtype)
            if len(parts) == len(read.sources[name]):
                ready[name] = joined([parts[part] for part in read.sources[name]])
                del waiting[name]
        model.load_state_dict(ready, strict=False, assign=True)
    assert not any(tensor.is_meta for tensor in model.state_dict().values())
    model.eval()  # type: ignore[no-untyped-call]
    return model


def _empty_model(read: ModelFolder) -> RS2Sam2Model:
    """The model without memory for its weights."""
    try:
        with torch.device("meta"):
            return RS2Sam2Model(read.config)
    except (TypeError, ValueError, RuntimeError, AssertionError, ZeroDivisionError, IndexError) as error:
        raise _impossible(read.folder, error) from error


def _placed(tensor: Tensor, name: str, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """A copy that no longer needs the file, where and as the model wants it."""
    if not tensor.is_floating_point():
        return tensor.to(device, copy=True)
    return tensor.to(device, torch.float32 if name.endswith(_KEPT_FLOAT32) else dtype, copy=True)


def _check_fit(read: ModelFolder, expected: Mapping[str, tuple[int, ...]]) -> None:
    missing = [name for name in expected if name not in read.sources]
    unknown = [name for name in read.sources if name not in expected]
    for names, what in ((missing, "are missing"), (unknown, "have no place in the model")):
        if names:
            raise UserError(f"{read.folder}: {len(names)} weights {what}: {few(names)}")
    wrong = [
        f"{name} {list(shape)} instead of {list(expected[name])}"
        for name, sources in read.sources.items()
        if (shape := _joined_shape(read.checkpoint, sources)) != expected[name]
    ]
    if wrong:
        raise UserError(
            f"{read.folder}: {len(wrong)} weights have another shape than its config.json says: {few(wrong)}"
        )


def _joined_shape(checkpoint: Checkpoint, sources: tuple[str, ...]) -> tuple[int, ...]:
    first, *rest = (checkpoint.entries[source].shape for source in sources)
    return (first[0] + sum(shape[0] for shape in rest), *first[1:]) if rest else first


def locate(name_or_folder: str | Path) -> tuple[Path, str]:
    """The folder of a model and the name it goes by.

    Raises:
        UserError: there is no such name or folder, or the model was not fetched yet.
    """
    if isinstance(name_or_folder, str) and zoo.is_name(name_or_folder):
        name = zoo.card(name_or_folder).name
        folder = zoo.folder_of(name)
        if not folder.is_dir():
            raise UserError(
                f"{name} is not on this machine: run `refersat models fetch {name}`, or give the folder of a copy "
                f"that was carried here: --model FOLDER"
            )
        return folder, name
    folder = Path(name_or_folder).expanduser()
    if folder.is_dir():
        return folder, folder.resolve().name
    if folder.exists():
        raise UserError(f"{folder} is a file: give the folder that holds config.json and the weights")
    raise UserError(f"{name_or_folder} is neither a folder nor a model's name; the names are: {', '.join(zoo.names())}")


def _own_config(folder: Path, description: Mapping[str, Any]) -> RS2Sam2Config:
    try:
        return RS2Sam2Config.from_dict(dict(description))
    except Exception as error:  # the many validators of Transformers share no other base
        raise _impossible(folder, error) from error


def _impossible(folder: Path, error: Exception) -> UserError:
    return UserError(f"{folder / CONFIG_FILE} describes no possible model: {' '.join(str(error).split())}")


def _tokenizer_file(folder: Path) -> Path:
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            return folder / name
    raise UserError(
        f"{folder} lacks its tokenizer, {TOKENIZER_FILE}: copy it there (released models use BEiT-3's, beit3.spm)"
    )
