"""Candidates: every object of the named kind, found at stride 4 before the one that the phrase means is chosen.

Not part of RS2-SAM 2. A model trained from scratch on few images learns what kinds of objects look like long before
it learns to choose among them; this hands what it knows of kinds to the layers that choose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.convolutions import ResidualConvolutions
from refersat.models.hiera import ImageState, per_phrase

MARKS = 6
"""What a stride-16 cell learns of its candidates: mean and largest probability, centre x and y, width, height."""

MARKS_WIDTH = 64

DECODER_CELLS = 4
"""Cells of 4 pixels along a cell of the decoder's stride-16 grid."""

USUAL_DISTANCE = 8.0
"""Cells from a point of an object to the edges of its box, of which the head predicts multiples."""

ALMOST_NOTHING = 1e-3
"""Keeps cells without candidates from dividing by zero."""

FIRST_GAIN = 0.5


@dataclass(frozen=True)
class Survey:
    """What can be said of N images before any phrase is heard.

    Attributes:
        features: (N, W, S/4, S/4).
        edges: (N, 4, S/4, S/4) cells (of 4 pixels) from each cell's centre to the left, top, right and bottom edge of
            the object that it belongs to.
    """

    features: Tensor
    edges: Tensor


@dataclass(frozen=True)
class Candidates:
    """What B phrases' kinds look like in N images, B/N phrases in a row about each.

    Attributes:
        survey: of the images.
        logits: (B, 1, S/4, S/4) which cells show an object of the named kind, wherever it is; for a plain sigmoid.
        details: (N, hidden / 8, S/4, S/4) for the mask decoder's finest features.
        trunk_marks: (B, H, W, C) for the trunk where it begins to listen.
        decoder_marks: (B, hidden, S/16, S/16) for the decoder's dense prompt.
    """

    survey: Survey
    logits: Tensor
    details: Tensor
    trunk_marks: Tensor
    decoder_marks: Tensor


class CandidateFinder(nn.Module):
    """Merges the trunk's maps from coarse to fine, tells which cells show what the phrase names, and says so to others.

    Sources: feature pyramids (Lin et al., CVPR 2017); distances to the edges of the box (FCOS, Tian et al., ICCV 2019).
    """

    def __init__(self, map_widths: Sequence[int], width: int, *, hidden: int) -> None:
        super().__init__()
        self.width = width
        self.laterals = nn.ModuleList(nn.Linear(each, width) for each in map_widths)
        self.merges = nn.ModuleList(ResidualConvolutions(width) for _ in map_widths)
        self.edge_head = nn.Conv2d(width, 4, kernel_size=1)
        self.query = nn.Linear(hidden, width)
        self.query_bias = nn.Parameter(torch.zeros(1))
        self.details = nn.Conv2d(width, hidden // 8, kernel_size=1)
        self.marks = nn.Sequential(nn.Linear(MARKS, MARKS_WIDTH), nn.GELU())
        self.marks_to_trunk = nn.Linear(MARKS_WIDTH, map_widths[-1])
        self.marks_to_decoder = nn.Linear(MARKS_WIDTH, hidden)
        self.gains = nn.Parameter(torch.full((3,), FIRST_GAIN))

    def forward(self, state: ImageState, prompt: Tensor) -> Candidates:
        """Find what the prompt tokens (B, hidden) name in what the trunk saw of N images."""
        survey = self.survey(state)
        logits = self._find(survey, prompt)
        height, width = state.features.shape[1:3]
        marks = self._mark(survey, logits, (height, width))
        coarse = (logits.shape[-2] // DECODER_CELLS, logits.shape[-1] // DECODER_CELLS)
        return Candidates(
            survey=survey,
            logits=logits,
            details=self.details(survey.features),
            trunk_marks=self.marks_to_trunk(marks),
            decoder_marks=F.adaptive_avg_pool2d(self.marks_to_decoder(marks).permute(0, 3, 1, 2), coarse),
        )

    def survey(self, state: ImageState) -> Survey:
        """What the trunk saw of N images, from coarse to fine."""
        merged: Tensor | None = None
        maps = (*state.maps, state.features)
        for level, lateral, merge in reversed(list(zip(maps, self.laterals, self.merges, strict=True))):
            features = lateral(level).permute(0, 3, 1, 2)
            if merged is not None:
                features = features + F.interpolate(merged, size=features.shape[-2:], mode="nearest")
            merged = cast(Tensor, merge(features))
        assert merged is not None
        return Survey(merged, F.softplus(self.edge_head(merged).float()) * USUAL_DISTANCE)

    def choose(self, candidates: Candidates, masks: Tensor) -> Tensor:
        """The decoder's mask logits (B, 1, S/4, S/4), which choose among the candidates -> logits of the same shape.

        Each cell asks the decoder at its own place and at the centre of its object, so that an object is taken or left
        as a whole.
        """
        masks = masks.float()
        boxes = per_phrase(_boxes(candidates.survey.edges.detach()), masks.shape[0])
        # A training that diverges makes numbers with which grid_sample would leave the mask's memory.
        centres = torch.nan_to_num(2 * boxes[:, :2].permute(0, 2, 3, 1) - 1).clamp(-1, 1)
        at_centre = F.grid_sample(masks, centres, mode="bilinear", padding_mode="border", align_corners=False)
        # The candidates learn kinds alone: that others are meant must not make them less of their kind.
        kinds = candidates.logits.detach()
        chosen: Tensor = self.gains[0] * kinds + self.gains[1] * masks + self.gains[2] * at_centre
        return chosen

    def _find(self, survey: Survey, prompt: Tensor) -> Tensor:
        images, phrases = survey.features.shape[0], prompt.shape[0]
        query = self.query(prompt).view(images, phrases // images, self.width)
        logits: Tensor = query @ survey.features.flatten(2) / self.width**0.5
        return (logits.float() + self.query_bias).view(phrases, 1, *survey.features.shape[-2:])

    def _mark(self, survey: Survey, logits: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, *size, MARKS_WIDTH): of every coarse cell, how much is candidates, and what their boxes are like."""
        probability = logits.sigmoid()
        mean = F.adaptive_avg_pool2d(probability, size)
        largest = F.adaptive_max_pool2d(probability, size)
        boxes = per_phrase(_boxes(survey.edges.detach()), logits.shape[0])
        typical = F.adaptive_avg_pool2d(probability * boxes, size) / (mean + ALMOST_NOTHING)
        cells = torch.cat([mean, largest, typical], dim=1).permute(0, 2, 3, 1)
        return cast(Tensor, self.marks(cells.to(self.marks_to_trunk.weight.dtype)))


def _boxes(edges: Tensor) -> Tensor:
    """Distances (N, 4, H, W) -> centre x, centre y, width and height (N, 4, H, W), as shares of the image."""
    height, width = edges.shape[-2:]
    left, top, right, bottom = edges.unbind(1)
    x = torch.arange(width, device=edges.device) + 0.5
    y = torch.arange(height, device=edges.device)[:, None] + 0.5
    return torch.stack(
        [
            (x + (right - left) / 2) / width,
            (y + (bottom - top) / 2) / height,
            (left + right) / width,
            (top + bottom) / height,
        ],
        dim=1,
    )
