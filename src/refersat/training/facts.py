"""What a training run is made of, to be kept beside its weights: recipe, code, data, sources of weights, machine."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path
from typing import Any

import torch
import transformers

import refersat
from refersat import __version__
from refersat.models import store
from refersat.training.devices import Devices
from refersat.training.setup import Setup


def facts_of(setup: Setup, data_files: str, devices: Devices) -> dict[str, Any]:
    """Everything that does not change while the run goes on, as plain values; `data_files` is their fingerprint."""
    recipe, start = setup.recipe, setup.start
    files = {entry.file for source in start.sources for entry in source.checkpoint.entries.values()}
    return {
        "refersat": __version__,
        "code_sha256": code_sha256(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "recipe": _without_folders(recipe.model_dump()),
        "data_sha256": setup.fingerprint,
        "data_files_sha256": data_files,
        "weights_sha256": {file.name: store.sha256(file) for file in sorted(files)},
        "run": {
            "device": str(devices.device.type),
            "processes": devices.processes,
            "sharded": devices.sharded,
            "machine": f"{platform.system()} {platform.machine()}",
        },
    }


def code_sha256() -> str:
    """Of all Python files of the package: the version alone does not tell what was changed in between."""
    package = Path(refersat.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        digest.update(file.relative_to(package).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _without_folders(value: Any) -> Any:
    """The last names of paths alone: weights are passed on, and the places of a machine are nobody's business."""
    if isinstance(value, Path):
        return value.name
    if isinstance(value, dict):
        return {name: _without_folders(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_folders(each) for each in value]
    if isinstance(value, str) and "/" in value:
        kind, colon, path = value.partition(":")
        return f"{kind}:{Path(path).name}" if colon else Path(value).name
    return value
