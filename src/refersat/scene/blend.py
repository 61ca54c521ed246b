"""Tiles' probabilities to one field, row after row: only the rows that still may change are in memory."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from refersat.scene.plan import WEIGHT_SUM

FULL = 65535
"""Probability 1 as the whole number that it is kept as."""


def quantised(probability: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Probabilities as whole numbers from 0 to `FULL`."""
    whole: NDArray[np.uint16] = np.rint(probability * np.float32(FULL)).astype(np.uint16)
    return whole


class Blender:
    """Some rows of a grid, from `top` on, to which weighted tiles are added.

    Sums are whole numbers: equal answers of all tiles stay what they are, and no order of adding changes a bit.

    Args:
        layers: phrases.
        rows: how many rows it holds.
        width: of the grid.
        top: the first row it holds.
    """

    def __init__(self, layers: int, rows: int, width: int, *, top: int) -> None:
        self.top = top
        self._sums = np.zeros((layers, rows, width), np.uint32)  # FULL x WEIGHT_SUM x WEIGHT_SUM just fits

    def add(
        self,
        layer: int,
        probability: NDArray[np.uint16],
        corner: tuple[int, int],
        weights: tuple[NDArray[np.uint32], NDArray[np.uint32]],
    ) -> None:
        """Add a tile.

        Args:
            layer: the phrase.
            probability: (h, w), 0 to `FULL`.
            corner: row and column in the grid of its first pixel.
            weights: (h,) and (w,), of `Axis.weights`.
        """
        row, column = corner[0] - self.top, corner[1]
        height, width = probability.shape
        share = probability.astype(np.uint32)
        share *= weights[0][:, None]
        share *= weights[1][None, :]
        self._sums[layer, row : row + height, column : column + width] += share

    def rows(self, layer: int, first: int, stop: int) -> NDArray[np.uint16]:
        """Finished rows of a phrase: (stop - first, width), 0 to `FULL`."""
        sums = self._sums[layer, first - self.top : stop - self.top]
        return (sums // np.uint32(WEIGHT_SUM**2)).astype(np.uint16)

    def drop_before(self, row: int) -> None:
        """Forget the rows above; there is room for as many more below."""
        count = row - self.top
        if count <= 0:
            return
        self._sums[:, :-count] = self._sums[:, count:]
        self._sums[:, -count:] = 0
        self.top = row
