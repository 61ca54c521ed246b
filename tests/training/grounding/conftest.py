"""Recipes of a few quick steps for a tiny grounder."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from refersat.training.recipe import Recipe
from tests.models.tiny_grounder import TINY_GROUNDER

WORDS = {"vocab_size": 300, "max_text_length": 32}  # enough for generated phrases


@pytest.fixture(scope="session")
def make_grounder_recipe(data_set: SimpleNamespace) -> Callable[..., Recipe]:
    """Makes a recipe of a stage without phrases and one with two about each view, with these changes to its fields."""

    def make(*, model: dict[str, Any] | None = None, **changes: Any) -> Recipe:
        defaults: dict[str, Any] = {
            "name": "tiny-grounder",
            "base": "built-in-grounder",
            "model": {**TINY_GROUNDER, **WORDS, **(model or {})},
            "tokenizer_sentences": 400,
            "data": {
                "annotations": data_set.annotations,
                "images": data_set.images,
                "validation": data_set.validation,
            },
            "stages": [
                {"steps": 2, "image_size": 32, "batch_size": 2, "phrases_per_view": 0},
                {"steps": 4, "image_size": 64, "batch_size": 2, "phrases_per_view": 2},
            ],
            "optimizer": {"learning_rate": 2e-3, "warm_up": 2},
            "validate_every": 3,
            "validation_samples": 4,
        }
        return Recipe.model_validate({**defaults, **changes})

    return make
