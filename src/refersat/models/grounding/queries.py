"""Language queries: what the decoder looks for is the sentence itself."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.grounding.boxes import to_centres
from refersat.models.grounding.configuration import GroundingConfig
from refersat.models.hiera import per_phrase
from refersat.models.selection import INSTANCES, WIDTH, InstanceSelector
from refersat.models.sightings import Objects

UNLIKELY = -4.6
"""Logit of a language query beside those that begin with an object."""

FIRST_SIDE = 0.125
"""Share of the image's sides that the box of a language query beside them begins with."""


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


@dataclass(frozen=True)
class Begun:
    """Q queries of B phrases with the boxes that they begin with.

    Attributes:
        queries: (B, Q, C).
        positions: (B, Q, C).
        boxes: (B, Q, 4), centre and size in shares of the image.
        judged: (B, Q) logits, what the selector thinks of each.
    """

    queries: Tensor
    positions: Tensor
    boxes: Tensor
    judged: Tensor


class ObjectQueries(nn.Module):
    """One query for each object that the eye finds, beside the language queries: the sentence, asked about the object.

    There are always as many, whatever is found, so that no phrase's answer depends on the others in its batch.
    """

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__()
        hidden = config.hidden_size
        self.about = nn.Linear(WIDTH, hidden)
        self.where = nn.Sequential(nn.Linear(4, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.places = nn.Parameter(torch.zeros(config.queries, 2))

    def forward(
        self,
        queries: Tensor,
        positions: Tensor,
        objects: Objects,
        selector: InstanceSelector,
        input_ids: Tensor,
        attention_mask: Tensor,
    ) -> Begun:
        """Language queries and their positions (B, q, C), and the objects of N images -> queries (B, Q, C)."""
        objects = padded(objects)
        judged, tokens = selector.weigh(objects, input_ids, attention_mask)
        phrases = len(judged)
        boxes = per_phrase(to_centres(objects.boxes), phrases)
        learned = torch.cat([self.places.sigmoid(), torch.full_like(self.places, FIRST_SIDE)], dim=-1)
        learned = learned[None].expand(phrases, -1, -1)
        return Begun(
            queries=torch.cat([queries[:, :1] + self.about(tokens), queries], dim=1),
            positions=torch.cat([self.where(boxes), positions], dim=1),
            boxes=torch.cat([boxes, learned], dim=1),
            judged=torch.cat([judged, judged.new_full((phrases, len(self.places)), UNLIKELY)], dim=1),
        )


def padded(objects: Objects) -> Objects:
    """As many objects as there can be, those that are missing with the score 0."""
    missing = INSTANCES - objects.scores.shape[1]
    return Objects(
        F.pad(objects.features, (0, 0, 0, missing)),
        F.pad(objects.boxes, (0, 0, 0, missing)),
        F.pad(objects.scores, (0, missing)),
    )
