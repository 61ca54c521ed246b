"""Where to look to know a whole scene's values."""

from __future__ import annotations

from typing import Any

import numpy as np

from refersat.radiometry import SAMPLED_PIXELS
from refersat.scene.window import Window

_PIECES = 16  # windows along each side, where a large scene without overviews is sampled


def sample_windows(dataset: Any, band: int) -> list[tuple[Window, tuple[int, int]]]:
    """What to read of a raster, and at which size (h, w): all of it, an overview, or a grid of pieces.

    Args:
        dataset: open in rasterio.
        band: whose overviews count.
    """
    width, height = dataset.width, dataset.height
    whole = Window(0, 0, width, height)
    shrink = (width * height / SAMPLED_PIXELS) ** 0.5
    if shrink <= 1 or any(factor <= 4 * shrink for factor in dataset.overviews(band)):
        return [(whole, (max(1, round(height / max(1, shrink))), max(1, round(width / max(1, shrink)))))]
    side = round(SAMPLED_PIXELS**0.5 / _PIECES)
    wide, high = min(side, width), min(side, height)
    return [
        (Window(int(x), int(y), wide, high), (high, wide))
        for y in sorted(set(np.linspace(0, height - high, _PIECES).astype(int)))
        for x in sorted(set(np.linspace(0, width - wide, _PIECES).astype(int)))
    ]
