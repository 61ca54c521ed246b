"""A model's folder and the description in it, config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refersat.errors import UserError
from refersat.export.manifest import is_export

CONFIG_FILE = "config.json"


def read_description(folder: Path) -> Mapping[str, Any]:
    """The content of the folder's config.json.

    Raises:
        UserError: there is none, as in an export, or it is no JSON object.
    """
    path = folder / CONFIG_FILE
    if not path.is_file() and is_export(folder):
        raise UserError(
            f"{folder} holds what `refersat export` wrote, which answers but holds no network: give the model that was "
            f"exported"
        )
    if not path.is_file():
        raise UserError(f"{folder} is not a model folder: it has no {CONFIG_FILE}")
    return read_json(path)


def read_json(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: the file cannot be read, or holds something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} must hold a JSON object")
    return content
