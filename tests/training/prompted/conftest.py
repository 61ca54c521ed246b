"""Recipes of a few quick steps for networks that boxes and points prompt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.recipe import Recipe
from tests.models.tiny_eye import save_eye_model


@pytest.fixture(scope="session")
def eye_model(tmp_path_factory: pytest.TempPathFactory, tokenizer: PhraseTokenizer) -> Path:
    """A folder of a tiny model with an eye, whose tokenizer knows the words of generated phrases."""
    folder = tmp_path_factory.mktemp("eye")
    tokenizer.save(folder / "words")
    words = folder / "words" / "sentencepiece.bpe.model"
    return save_eye_model(folder / "model", words, vocab_size=300, max_text_length=32, text_positions=34)


@pytest.fixture(scope="session")
def make_sam_recipe(data_set: SimpleNamespace, eye_model: Path) -> Callable[..., Recipe]:
    """Makes a recipe for a tiny compact SAM, with these changes to its fields."""

    def make(**changes: Any) -> Recipe:
        defaults: dict[str, Any] = {
            "name": "tiny-sam",
            "base": "built-in-sam",
            "init": {"model": str(eye_model)},
            "model": {"hidden_size": 32, "feed_forward": 32},
            "data": {
                "annotations": data_set.annotations,
                "images": data_set.images,
                "validation": data_set.validation,
            },
            "stages": [
                {"once": True, "views": 6, "steps": 6, "image_size": 64, "batch_size": 2, "phrases_per_view": 4}
            ],
            "loss": {"cross_entropy": 1.0, "dice": 1.0},
            "optimizer": {"learning_rate": 2e-3, "warm_up": 2},
            "validate_every": 3,
            "validation_samples": 4,
            "log_samples": False,
        }
        return Recipe.model_validate({**defaults, **changes})

    return make
