"""Tiny grounders with random weights that leave no part silent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from refersat.models.grounding.model import GroundingModel
from tests.models.tiny_grounder import PAPERS, tiny_grounder_config

KINDS: dict[str, dict[str, Any]] = {"compact": {}, "paper": PAPERS, "gated": {"merge": "multiply"}}


@pytest.fixture(scope="session")
def make_grounder() -> Callable[..., GroundingModel]:
    """Makes a tiny grounder in evaluation mode, its weights random everywhere."""

    def make(*, stirred: bool = True, **changes: Any) -> GroundingModel:
        torch.manual_seed(0)
        model = GroundingModel(tiny_grounder_config(**changes)).eval()
        if stirred:
            generator = torch.Generator().manual_seed(1)
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        return model

    return make


@pytest.fixture(scope="session", params=list(KINDS))
def grounder_model(request: pytest.FixtureRequest, make_grounder: Callable[..., GroundingModel]) -> GroundingModel:
    """One of each kind."""
    return make_grounder(**KINDS[request.param])
