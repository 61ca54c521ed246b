"""Outlines along pixel edges made smooth, nowhere further than half a pixel from where they were."""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray

REACH = 0.5
"""How far a smooth outline may be from the pixels' edges, in pixels."""

_CUT = math.sqrt(0.125)  # from a corner to the line between points half a pixel before and behind it


def smooth_outline(outline: shapely.Polygon) -> shapely.Polygon:
    """An outline along pixel edges, in pixels, with its corners cut and points left out that change little.

    Corners are cut half a pixel before and behind, which makes lines of stairs; what is then left out lies as close as
    `REACH` still allows (Douglas and Peucker). The result is valid.
    """
    cut = shapely.Polygon(_cut(outline.exterior), [_cut(hole) for hole in outline.interiors])
    smooth = shapely.simplify(cut, REACH - _CUT, preserve_topology=True)
    for found in (smooth, cut):
        if isinstance(found, shapely.Polygon) and found.is_valid and not found.is_empty:
            return found
    return outline


def _cut(ring: shapely.LinearRing) -> NDArray[np.float64]:
    corners = shapely.get_coordinates(ring)[:-1]
    before, after = np.roll(corners, 1, axis=0) - corners, np.roll(corners, -1, axis=0) - corners

    halves = [corners + 0.5 * way / np.abs(way).max(axis=1, keepdims=True) for way in (before, after)]
    points = np.stack(halves, axis=1).reshape(-1, 2)
    kept: NDArray[np.float64] = points[np.any(points != np.roll(points, 1, axis=0), axis=1)]
    return kept
