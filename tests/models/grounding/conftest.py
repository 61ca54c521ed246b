"""Tiny grounders with random weights that leave no part silent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from refersat.models.grounding.model import GroundingConfig, GroundingModel

TINY = {
    "image_size": 64,
    "hidden_size": 32,
    "image_widths": [16, 16, 24, 32],
    "image_depths": [1, 1, 1, 1],
    "text_width": 16,
    "vocab_size": 80,
    "max_text_length": 12,
    "queries": 4,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "heads": 2,
    "points": 2,
    "feed_forward": 32,
}
PAPERS = {  # the paper's two networks, as small as they get
    "image_network": "resnet",
    "image_widths": [32, 32, 48, 64],
    "text_network": "roberta",
    "text_layers": 1,
    "text_heads": 2,
    "text_feed_forward": 32,
}
KINDS: dict[str, dict[str, Any]] = {"compact": {}, "paper": PAPERS, "gated": {"merge": "multiply"}}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """So small a model waits for its threads more than it computes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_grounder_config() -> Callable[..., GroundingConfig]:
    """Makes the configuration of a tiny grounder, with these changes."""
    return lambda **changes: GroundingConfig(**{**GroundingConfig.built_in().to_dict(), **TINY, **changes})


@pytest.fixture(scope="session")
def make_grounder(tiny_grounder_config: Callable[..., GroundingConfig]) -> Callable[..., GroundingModel]:
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
