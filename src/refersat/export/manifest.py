"""What lies in a folder that `refersat export` wrote. Reading it needs neither PyTorch nor ONNX."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from refersat.errors import UserError

MANIFEST_FILE = "manifest.json"
KIND = "refersat export"


def read_export(folder: Path) -> dict[str, Any]:
    """The manifest of an exported model.

    Raises:
        UserError: the folder holds none.
    """
    try:
        content: dict[str, Any] = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        if content["kind"] == KIND:
            return content
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(f"{folder} holds no export: it has no {MANIFEST_FILE} of `refersat export`")


def is_export(folder: Path) -> bool:
    """Whether the folder holds an exported model."""
    try:
        read_export(folder)
    except UserError:
        return False
    return True


def graph_files(folder: Path) -> list[Path]:
    """The files that hold graphs and their weights, as far as they are there.

    Raises:
        UserError: the folder holds no export.
    """
    names = [row["file"] for row in read_export(folder)["graphs"]]
    return [path for name in names for path in (folder / name, folder / f"{name}.data") if path.is_file()]
