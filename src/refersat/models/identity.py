"""Which model it is: the digests of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from refersat.models import store, zoo
from refersat.models.checkpoint import Checkpoint
from refersat.models.folder import CONFIG_FILE

_DESCRIPTIONS = {".json", ".txt", ".model", ".spm"}
"""Suffixes of the files beside the weights that change what a model answers: configuration and tokenizer."""


def model_folder(model: str) -> Path:
    """Where the files of a model lie, by its name or folder."""
    if not zoo.is_name(model):
        return Path(model).expanduser()
    return zoo.built_in_folder() if model == zoo.BUILT_IN else store.model_folder(model)


def model_files(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """File name -> sha256: of the files that hold weights, and of those that describe model and tokenizer.

    A model of several parts has one subfolder for each.

    Raises:
        UserError: the folder holds no weights.
    """
    parts = sorted(path.parent for path in folder.glob(f"*/{CONFIG_FILE}"))
    if not parts or (folder / CONFIG_FILE).is_file():
        parts = [folder]
    weights = {entry.file for part in parts for entry in Checkpoint.find(part).entries.values()}
    beside = {file for part in parts for file in part.iterdir() if file.suffix in _DESCRIPTIONS} - weights
    descriptions = {file for file in beside if file.is_file() and file.name != zoo.CARD_FILE}

    def digests(files: set[Path]) -> dict[str, str]:
        return {file.relative_to(folder).as_posix(): store.sha256(file) for file in sorted(files)}

    return digests(weights), digests(descriptions)


def weights_digest(weights: dict[str, str]) -> str:
    """One sha256 for the files of `model_files`: that of the only file, or of the lines that sha256sum prints."""
    if len(weights) == 1:
        return next(iter(weights.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(weights.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
