"""The configuration of the tiny grounder, and changes that make it another kind."""

from __future__ import annotations

from typing import Any

from refersat.models.grounding.configuration import GroundingConfig

TINY_GROUNDER: dict[str, Any] = {
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
PAPERS: dict[str, Any] = {  # the paper's two networks, as small as they get
    "image_network": "resnet",
    "image_widths": [32, 32, 48, 64],
    "text_network": "roberta",
    "text_layers": 1,
    "text_heads": 2,
    "text_feed_forward": 32,
}


def tiny_grounder_config(**changes: Any) -> GroundingConfig:
    """It, with these changes."""
    return GroundingConfig(**{**GroundingConfig.built_in().to_dict(), **TINY_GROUNDER, **changes})
