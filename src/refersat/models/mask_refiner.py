"""The mask in pixels: what was drawn in cells of 4 pixels a side is drawn again along the edges that the image shows.

Not part of RS2-SAM 2, whose masks are as fine as their cells: an airplane of 24 pixels has wings of less than a cell.
Source: a coarse mask and the image, refined whatever the object is (Cheng et al., "CascadePSP", CVPR 2020).
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.convolutions import ResidualConvolutions
from refersat.models.hiera import per_phrase

BLOCK = 2
"""Pixels along a side that are worked on as one, in channels of their own: it costs a quarter."""

EDGE = 1
"""Cells on either side of an edge in which it may be moved. What is drawn further inside stays: of a kind that it has
never seen, a refiner would rub out whatever is drawn faintly."""

SURE = 13.8
"""Logits beyond this are cut: of what is left out for sure, a neighbour's edge should not depend on how sure."""

SOFTNESS = 4.0
"""Logits beyond this are sure; the refiner need not tell them apart."""


class MaskRefiner(nn.Module):
    """Corrects the logits of a coarse mask at the resolution of the view.

    Args:
        feature_width: of the survey's features.
        width: of its own.
    """

    def __init__(self, feature_width: int, width: int) -> None:
        super().__init__()
        self.pixels = nn.Conv2d(3 * BLOCK**2, width, kernel_size=3, padding=1)
        self.texture = ResidualConvolutions(width)
        self.features = nn.Conv2d(feature_width, width, kernel_size=1)
        self.mask = nn.Conv2d(2, width, kernel_size=3, padding=1)
        self.layers = nn.Sequential(ResidualConvolutions(width), ResidualConvolutions(width))
        self.correction = nn.Conv2d(width, BLOCK**2, kernel_size=3, padding=1)

    def look(self, pixel_values: Tensor, features: Tensor) -> Tensor:
        """What there is to see in N images, whatever was drawn.

        Args:
            pixel_values: (N, 3, S, S).
            features: (N, W, S/4, S/4) of the survey.

        Returns:
            (N, width, S/2, S/2).
        """
        seen = self.texture(self.pixels(F.pixel_unshuffle(pixel_values, BLOCK)))
        return cast(Tensor, seen + enlarged(self.features(features), 2))

    def forward(self, drawn: Tensor, seen: Tensor) -> Tensor:
        """Masks in cells -> masks in pixels; both are logits for a plain sigmoid.

        Args:
            drawn: (B, 1, S/4, S/4).
            seen: (N, width, S/2, S/2) of `look`, B/N masks in a row about each image.

        Returns:
            (B, 1, S, S).
        """
        drawn = drawn.float().clamp(-SURE, SURE)
        correction = self.correct(drawn, per_phrase(seen, drawn.shape[0]))
        return enlarged(drawn, 4) + enlarged(edges_of(drawn), 4) * correction

    def correct(self, drawn: Tensor, seen: Tensor) -> Tensor:
        """What is to be added to masks (B, 1, h, w) near edges: (B, 1, 4h, 4w); `seen` is (B, width, 2h, 2w)."""
        halfway = enlarged(drawn, 2)
        marks = torch.cat([halfway.sigmoid(), (halfway / SOFTNESS).tanh()], dim=1).to(seen.dtype)
        features = self.layers(F.gelu(seen + self.mask(marks)))
        return F.pixel_shuffle(self.correction(features), BLOCK).float()


def edges_of(drawn: Tensor) -> Tensor:
    """(B, 1, h, w): 1 in cells near the edge of what is drawn, else 0."""
    inside = (drawn > 0).to(drawn.dtype)
    return _widened(inside) + _widened(1 - inside) - 1


def _widened(cells: Tensor) -> Tensor:
    return F.max_pool2d(cells, kernel_size=2 * EDGE + 1, stride=1, padding=EDGE)


def enlarged(values: Tensor, times: int) -> Tensor:
    """(B, C, h, w) -> (B, C, times h, times w)."""
    size = [times * side for side in values.shape[-2:]]
    return F.interpolate(values, size=size, mode="bilinear", align_corners=False)
