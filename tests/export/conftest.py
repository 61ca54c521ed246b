"""Tiny RS2-SAM 2 models in folders, and what `refersat export` makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refersat.cli.main import main
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.text.tokenizer import train_tokenizer
from tests.models.tiny_rs2sam2 import CONFIGURATIONS, make_model

SENTENCES = ["the ship on the left", "all ships", "the left one"]


def save_model(folder: Path, **changes: Any) -> RS2Sam2Model:
    """A tiny model in our layout."""
    model = make_model(**changes)
    model.save_pretrained(folder)
    train_tokenizer(SENTENCES, folder, 39)
    return model


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], tuple[Path, RS2Sam2Model]]:
    """The export of a configuration in a format, with the model; each is made once."""
    made: dict[tuple[str, str], tuple[Path, RS2Sam2Model]] = {}

    def make(configuration: str, kind: str) -> tuple[Path, RS2Sam2Model]:
        if (configuration, kind) not in made:
            folder = tmp_path_factory.mktemp("export")
            model = save_model(folder / "model", **CONFIGURATIONS[configuration])
            words = ["--model", str(folder / "model"), "--out", str(folder / "graphs"), "--format", kind]
            assert main(["export", *words, "--no-check"]) == 0
            made[configuration, kind] = (folder / "graphs", model)
        return made[configuration, kind]

    return make
