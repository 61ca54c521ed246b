"""Which model it is: the digests of its files."""

from __future__ import annotations

import hashlib
from pathlib import Path

from refersat.export.manifest import MANIFEST_FILE, graph_files, is_export
from refersat.models import store, zoo
from refersat.models.checkpoint import Checkpoint
from refersat.models.folder import CONFIG_FILE
from refersat.models.pslg import PSLG_FILE, is_pslg
from refersat.text.tokenizer import TOKENIZER_FILE

_DESCRIPTIONS = {".json", ".txt", ".model", ".spm"}
"""Suffixes of the files beside the weights that change what a model answers: configuration and tokenizer."""


def model_folder(model: str) -> Path:
    """Where the files of a model lie, by its name or folder."""
    return zoo.folder_of(model) if zoo.is_name(model) else Path(model).expanduser()


def model_files(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """File name -> sha256: of the files that hold weights, and of those that describe model and tokenizer.

    A model of several parts has one subfolder for each; those of a PSLG-SAM may be elsewhere. The weights of an export
    are in its graphs.

    Raises:
        UserError: the folder holds no weights.
    """
    if is_export(folder):
        graphs = {file.name: store.sha256(file) for file in graph_files(folder)}
        beside = (folder / MANIFEST_FILE, folder / TOKENIZER_FILE)
        return graphs, {file.name: store.sha256(file) for file in beside if file.is_file()}
    if is_pslg(folder):
        from refersat.models.pslg.folder import network_folders

        own = {PSLG_FILE: store.sha256(folder / PSLG_FILE)}
        parts = {name: model_files(place) for name, place in network_folders(folder).items()}
        weights, descriptions = (
            {f"{name}/{file}": digest for name, files in parts.items() for file, digest in files[kind].items()}
            for kind in (0, 1)
        )
        return weights, own | descriptions
    return _files_of_networks(folder)


def _files_of_networks(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
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
