"""Where the tiles lie, and how much each counts where several see the same pixel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from refersat.scene.window import Window

WEIGHT_SUM = 256
"""What the weights of all tiles along one axis add up to, at every pixel and to the bit."""


@dataclass(frozen=True)
class Axis:
    """Tiles along one axis of a grid: all of one length, evenly spread from its first pixel to its last.

    Attributes:
        size: pixels of the axis.
        tile: pixels of a tile, at most `size`.
        starts: first pixel of each tile.
    """

    size: int
    tile: int
    starts: tuple[int, ...]

    @classmethod
    def covered(cls, size: int, tile: int, overlap: float) -> Axis:
        """As few tiles as overlap by this share of their length or more."""
        tile = min(tile, size)
        stride = max(1, math.floor(tile * (1 - overlap)))
        count = math.ceil((size - tile) / stride) + 1
        spread = np.linspace(0, size - tile, count)
        return cls(size, tile, tuple(int(start) for start in np.rint(spread)))

    @cached_property
    def weights(self) -> tuple[NDArray[np.uint32], ...]:
        """Of each tile (tile,): a smooth hill where tiles overlap; all that see a pixel add up to `WEIGHT_SUM`.

        They are whole numbers, so that equal answers blend to just that answer, whatever the overlap.
        """
        hill = np.sin(np.pi * (np.arange(self.tile) + 0.5) / self.tile) ** 2
        total = np.zeros(self.size)
        for start in self.starts:
            total[start : start + self.tile] += hill
        before, shares = np.zeros(self.size), []
        for start in self.starts:
            span = slice(start, start + self.tile)
            after = before[span] + hill
            low, high = (np.rint(part / total[span] * WEIGHT_SUM) for part in (before[span], after))
            before[span] = after
            shares.append((high - low).astype(np.uint32))
        return tuple(shares)


@dataclass(frozen=True)
class Grid:
    """The pixels in which the model works: those of a part of the scene, or finer, or coarser ones.

    Attributes:
        extent: the part, in whole pixels of the scene.
        width, height: of the grid.
    """

    extent: Window
    width: int
    height: int

    @classmethod
    def scaled(cls, extent: Window, across: float = 1.0, down: float = 1.0) -> Grid:
        """With about so many pixels of its own for each of the scene's."""
        return cls(extent, max(1, round(extent.width * across)), max(1, round(extent.height * down)))

    def window(self, column: int, row: int, width: int, height: int) -> Window:
        """A rectangle of the grid as one of the scene."""
        across, down = self.extent.width / self.width, self.extent.height / self.height
        return Window(self.extent.x + column * across, self.extent.y + row * down, width * across, height * down)
