"""What a run has written, for the tests of runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refersat.training.recipe import Recipe

MakeRecipe = Callable[..., Recipe]


def log_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses_of(out: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in log_of(out) if "loss" in line]


def fingerprint(model: Path) -> str:
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
