"""Tiny RS2-SAM 2 models in folders, and what `refersat export` makes of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from refersat.cli.main import main
from refersat.imagery import read_image
from refersat.models.loading import LoadedModel, load_model
from refersat.models.preprocess import preprocess
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


def half_foreground(source: Path, target: Path, picture: Path, phrase: str) -> Path:
    """The same model and graphs, but half of the picture is foreground, whatever chance weights say."""
    shutil.copytree(source, target)
    loaded = load_model(target / "model", device=torch.device("cpu"), dtype=torch.float32)
    assert isinstance(loaded, LoadedModel)
    with torch.inference_mode():
        views = preprocess([read_image(picture).rgb], loaded.model.config)
        logits = loaded.model(*views, *loaded.tokenizer([phrase])).logits
    thresholds = {"mask_threshold": float(logits.median()), "presence_threshold": 0.0}
    config, manifest = target / "model" / "config.json", target / "graphs" / "manifest.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | thresholds))
    about = json.loads(manifest.read_text())
    given = {name: value for name, value in thresholds.items() if about["answer"][name] is not None}
    manifest.write_text(json.dumps(about | {"answer": about["answer"] | given}))
    return target


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Neither square nor of the model's size."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 15, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    PIL.Image.fromarray(pixels).resize((150, 90)).save(path)
    return path
