"""Models of others, run by Transformers as they were released: what this package's own are compared with.

Nothing is converted: a peer's folder holds the files of its repository. SAM 3 is one such folder; Grounding DINO +
SAM 2 is a folder with one for each of the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from refersat.errors import UserError
from refersat.models.folder import CONFIG_FILE, read_description

if TYPE_CHECKING:
    import torch

    from refersat.models.answering import Answerer

SAM3 = "sam3"
GROUNDED_SAM2 = "grounded-sam2"
DETECTOR_FOLDER = "grounding-dino"
MASKS_FOLDER = "sam2"

KINDS = (
    "sam3 or sam3_video (SAM 3); Grounding DINO + SAM 2 is a folder with the two in its subfolders "
    f"{DETECTOR_FOLDER} and {MASKS_FOLDER}"
)
"""For messages: what a peer's folder looks like."""


@dataclass(frozen=True)
class _Part:
    """One network of a peer: the `model_type`s that hold it, and whether it reads phrases."""

    types: tuple[str, ...]
    tokenizer: bool


_PARTS: Mapping[str, Mapping[str, _Part]] = {
    # The second type of each is that of the video model, which holds the image model among its weights.
    SAM3: {"": _Part(("sam3", "sam3_video"), tokenizer=True)},
    GROUNDED_SAM2: {
        DETECTOR_FOLDER: _Part(("grounding-dino",), tokenizer=True),
        MASKS_FOLDER: _Part(("sam2", "sam2_video"), tokenizer=False),
    },
}
"""Kind -> subfolder -> what must be in it."""

_TOKENIZER_FILES = (("tokenizer.json",), ("vocab.txt",), ("vocab.json", "merges.txt"))


def is_peer(folder: Path) -> bool:
    """Whether the folder looks like a peer's, be it an incomplete one.

    Raises:
        UserError: its config.json cannot be read.
    """
    return _kind(folder) is not None


def check(folder: Path) -> None:
    """See that a peer's folder holds all that `load` needs, without reading the weights' values.

    Raises:
        UserError: something is missing, damaged, or of another model.
    """
    from refersat.models.checkpoint import Checkpoint

    kind = _kind(folder)
    if kind is None:
        raise UserError(f"{folder} holds no peer: expected {KINDS}")
    for name, part in _PARTS[kind].items():
        inside = folder / name
        model_type = read_description(inside).get("model_type")
        if model_type not in part.types:
            raise UserError(f"{inside / CONFIG_FILE} says model_type {model_type}, not {' or '.join(part.types)}")
        if part.tokenizer and not any(all((inside / file).is_file() for file in files) for files in _TOKENIZER_FILES):
            raise UserError(f"{inside} lacks its tokenizer: copy tokenizer.json there")
        files = {entry.file for entry in Checkpoint.find(inside).entries.values()}
        pickled = sorted(file.name for file in files if file.suffix != ".safetensors")
        if pickled:
            raise UserError(f"{inside} holds pickled weights only ({', '.join(pickled)}): get its *.safetensors")


def load(folder: Path, *, device: torch.device, dtype: torch.dtype) -> Answerer:
    """Load a peer from its folder; the network is never touched.

    Raises:
        UserError: see `check`; or the weights do not fit their description.
    """
    check(folder)
    if _kind(folder) == SAM3:
        from refersat.models.peers.sam3 import Sam3

        return Sam3.load(folder, device=device, dtype=dtype)
    from refersat.models.peers.grounded_sam2 import GroundedSam2

    return GroundedSam2.load(folder / DETECTOR_FOLDER, folder / MASKS_FOLDER, device=device)


def _kind(folder: Path) -> str | None:
    if (folder / CONFIG_FILE).is_file():
        return SAM3 if read_description(folder).get("model_type") in _PARTS[SAM3][""].types else None
    return GROUNDED_SAM2 if any((folder / name).is_dir() for name in _PARTS[GROUNDED_SAM2]) else None
