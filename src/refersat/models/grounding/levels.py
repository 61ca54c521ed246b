"""Feature maps of several strides as one row of tokens that know where they lie."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

_TEMPERATURE = 10_000.0
"""Ratio of the longest to the shortest wave of the positions, as in DETR."""


@dataclass(frozen=True)
class Levels:
    """The tokens of B views at several levels, T in all, level after level and row by row.

    Attributes:
        tokens: (B, T, C).
        positions: (B, T, C), sines of the place in the image; the same at all levels.
        inside: (B, T) bool, True where the token lies on the image and not on what fills the letterbox.
        valid: (B, 2) shares of width and height that are image.
        sizes: height and width of each level.
    """

    tokens: Tensor
    positions: Tensor
    inside: Tensor
    valid: Tensor
    sizes: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, maps: Sequence[Tensor], valid: Tensor) -> Levels:
        """Of maps (B, C, h, w) and valid (B, 2)."""
        places = [_places(each, valid) for each in maps]
        return cls(
            tokens=torch.cat([each.flatten(2).transpose(1, 2) for each in maps], dim=1),
            positions=torch.cat([_sines(each, maps[0].shape[1]) for each in places], dim=1).to(maps[0].dtype),
            # The first row and column are the image's, however narrow it is.
            inside=torch.cat([_inside(each, shape.shape[-2:]) for each, shape in zip(places, maps, strict=True)], 1),
            valid=valid,
            sizes=tuple((each.shape[-2], each.shape[-1]) for each in maps),
        )

    def each(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Tokens (B, t, C), positions (B, t, C) and padding (B, t), True outside the image, level by level."""
        lengths = [height * width for height, width in self.sizes]
        parts = (torch.split(each, lengths, dim=1) for each in (self.tokens, self.positions, ~self.inside))
        yield from zip(*parts, strict=True)

    def with_tokens(self, tokens: Sequence[Tensor]) -> Levels:
        """The same places with other tokens (B, t, C), level by level."""
        return replace(self, tokens=torch.cat(list(tokens), dim=1))


def _places(level: Tensor, valid: Tensor) -> Tensor:
    """X and y (B, h*w, 2) of the centres of a map's cells, in shares of the image; above 1 behind its edges."""
    height, width = level.shape[-2:]
    y = (torch.arange(height, device=level.device) + 0.5) / height
    x = (torch.arange(width, device=level.device) + 0.5) / width
    grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([grid_x, grid_y], dim=-1).flatten(0, 1)[None] / valid[:, None]


def _inside(places: Tensor, size: torch.Size) -> Tensor:
    height, width = size
    first = torch.arange(height * width, device=places.device)
    first_column, first_row = first % width == 0, first < width
    inside = torch.stack([(places[..., 0] < 1) | first_column, (places[..., 1] < 1) | first_row])
    return inside.all(dim=0)


def _sines(places: Tensor, width: int) -> Tensor:
    """Places (B, t, 2) -> (B, t, width): half of it for y, half for x, sine and cosine in turn.

    Source: Carion et al., "DETR" (ECCV 2020), with coordinates from 0 to 2 pi over the image.
    """
    count = width // 2
    waves = _TEMPERATURE ** (2 * (torch.arange(count, device=places.device) // 2) / count)
    angles = (2 * math.pi * places.flip(-1))[..., None] / waves
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(2)
