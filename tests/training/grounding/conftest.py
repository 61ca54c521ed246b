"""A tiny grounder, and recipes of a few quick steps for it."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from refersat.models.grounding.configuration import GroundingConfig
from refersat.training.recipe import Recipe

TINY_GROUNDER = {
    "image_size": 64,
    "hidden_size": 32,
    "image_widths": [16, 16, 24, 32],
    "image_depths": [1, 1, 1, 1],
    "text_width": 16,
    "vocab_size": 300,
    "queries": 4,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "heads": 2,
    "points": 2,
    "feed_forward": 32,
}


@pytest.fixture(scope="session")
def tiny_grounder() -> dict[str, Any]:
    """The changes that make the built-in grounder's configuration tiny."""
    return TINY_GROUNDER


@pytest.fixture(scope="session")
def tiny_grounder_config() -> Callable[..., GroundingConfig]:
    """Makes the configuration of the tiny grounder, with these changes."""
    return lambda **changes: GroundingConfig(**{**GroundingConfig.built_in().to_dict(), **TINY_GROUNDER, **changes})


@pytest.fixture(scope="session")
def make_grounder_recipe(data_set: SimpleNamespace) -> Callable[..., Recipe]:
    """Makes a recipe of a stage without phrases and one with two about each view, with these changes to its fields."""

    def make(*, model: dict[str, Any] | None = None, **changes: Any) -> Recipe:
        defaults: dict[str, Any] = {
            "name": "tiny-grounder",
            "base": "built-in-grounder",
            "model": {**TINY_GROUNDER, **(model or {})},
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
