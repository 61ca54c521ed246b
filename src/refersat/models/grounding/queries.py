"""Language queries: what the decoder looks for is the sentence itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from refersat.models.grounding.configuration import GroundingConfig


class LanguageQueries(nn.Module):
    """The sentence, repeated, at learned positions that let each query look elsewhere first.

    Source: PSLG-SAM (arXiv 2506.10503), stage 1, after LQVG (Lan et al., TGRS 2024).
    """

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__()
        self.sentence = nn.Linear(config.hidden_size, config.hidden_size)
        self.positions = nn.Parameter(torch.zeros(config.queries, config.hidden_size))

    def forward(self, first: Tensor) -> tuple[Tensor, Tensor]:
        """The first enhanced token (B, C) of each phrase -> queries (B, Q, C), all alike, and positions (B, Q, C)."""
        positions = self.positions[None].expand(len(first), -1, -1)
        return self.sentence(first).tanh()[:, None].expand_as(positions), positions
