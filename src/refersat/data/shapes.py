"""Outlines of objects: area, clipping, affine maps and masks.

A shape is a tuple of parts, a part a tuple of rings: one outline, then its holes. A ring is a float array (N, 2) of
x, y in pixels, where the upper left pixel of the image covers 0..1 on both axes, as in COCO.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Ring: TypeAlias = NDArray[np.float64]
Part: TypeAlias = tuple[Ring, ...]
Shape: TypeAlias = tuple[Part, ...]


def moments(shape: Shape) -> tuple[float, tuple[float, float]]:
    """Area in square pixels and centroid of a shape; the mean of the corners where the area is nothing."""
    area, sum_x, sum_y = 0.0, 0.0, 0.0
    for part in shape:
        for k, ring in enumerate(part):
            origin = ring[0]
            x, y = (ring - origin).T
            cross = x * np.roll(y, -1) - y * np.roll(x, -1)
            signed = float(cross.sum()) / 2
            # Outlines count positive and holes negative, whichever way round they are given.
            sign = (1.0 if signed >= 0 else -1.0) * (-1.0 if k else 1.0)
            area += sign * signed
            sum_x += sign * (float(((x + np.roll(x, -1)) * cross).sum()) / 6 + float(origin[0]) * signed)
            sum_y += sign * (float(((y + np.roll(y, -1)) * cross).sum()) / 6 + float(origin[1]) * signed)
    if area <= 1e-9:
        corners = np.concatenate([ring for part in shape for ring in part])
        return 0.0, (float(corners[:, 0].mean()), float(corners[:, 1].mean()))
    return area, (sum_x / area, sum_y / area)


def bounds(shape: Shape) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a shape."""
    outlines = [part[0] for part in shape]
    low = np.min([ring.min(axis=0) for ring in outlines], axis=0)
    high = np.max([ring.max(axis=0) for ring in outlines], axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def warp(shape: Shape, matrix: NDArray[np.floating]) -> Shape:
    """The shape after the affine map of a 2x3 matrix (x' = m00 x + m01 y + m02 and so on)."""
    linear, offset = np.asarray(matrix)[:, :2].T, np.asarray(matrix)[:, 2]
    return tuple(tuple(ring @ linear + offset for ring in part) for part in shape)


def clip(shape: Shape, width: float, height: float) -> Shape:
    """The part of a shape inside 0..width, 0..height; empty when nothing is left."""
    parts = []
    for part in shape:
        rings = [_clip_ring(ring, width, height) for ring in part]
        if len(rings[0]) >= 3:
            parts.append(tuple(ring for ring in rings if len(ring) >= 3))
    return tuple(parts)


def _clip_ring(ring: Ring, width: float, height: float) -> Ring:
    """Sutherland and Hodgman's clipping, one side of the rectangle after another."""
    low, high = ring.min(axis=0), ring.max(axis=0)
    if low[0] >= 0 and low[1] >= 0 and high[0] <= width and high[1] <= height:
        return ring
    if high[0] <= 0 or high[1] <= 0 or low[0] >= width or low[1] >= height:
        return ring[:0]
    for axis, limit, sign in ((0, 0.0, 1.0), (0, width, -1.0), (1, 0.0, 1.0), (1, height, -1.0)):
        depth = (ring[:, axis] - limit) * sign
        if depth.min() >= 0:
            continue
        inside = depth >= 0
        if not inside.any():
            return ring[:0]
        following, depth_next = np.roll(ring, -1, axis=0), np.roll(depth, -1)
        crosses = inside != np.roll(inside, -1)
        share = np.where(crosses, depth / np.where(crosses, depth - depth_next, 1.0), 0.0)[:, None]
        crossing = ring + share * (following - ring)
        # Each corner that is inside, followed by the crossing behind it where there is one.
        both = np.stack([ring, crossing], axis=1).reshape(-1, 2)
        ring = both[np.stack([inside, crosses], axis=1).reshape(-1)]
    return ring


def rasterise(shapes: Iterable[Shape], width: int, height: int) -> NDArray[np.bool_]:
    """Mask (height, width) of the union of the shapes: the pixels whose centres lie inside one.

    Exact, where OpenCV and Pillow also fill the pixels that the outline only touches (6 % more on small objects).
    """
    mask = np.zeros((height, width), np.bool_)
    for shape in shapes:
        for part in shape:
            _fill(mask, part)
    return mask


def _fill(mask: NDArray[np.bool_], part: Part) -> None:
    """Even-odd filling: each crossing of a row of pixel centres turns all pixels to its right."""
    height, width = mask.shape
    x0, y0, x1, y1 = bounds((part,))
    left, top = max(0, int(np.floor(x0))), max(0, int(np.floor(y0)))
    right, bottom = min(width, int(np.ceil(x1))), min(height, int(np.ceil(y1)))
    if left >= right or top >= bottom:
        return
    turns = np.zeros((bottom - top, right - left + 1), np.int32)
    centres = np.arange(top, bottom) + 0.5
    for ring in part:
        following = np.roll(ring, -1, axis=0)
        crosses = (ring[:, 1:] <= centres) != (following[:, 1:] <= centres)
        edge, row = np.nonzero(crosses)
        start, run = ring[edge], following[edge] - ring[edge]
        x = start[:, 0] + (centres[row] - start[:, 1]) / run[:, 1] * run[:, 0]
        column = np.clip(np.ceil(x - 0.5).astype(np.int64) - left, 0, right - left)
        np.add.at(turns, (row, column), 1)
    mask[top:bottom, left:right] |= (np.cumsum(turns[:, :-1], axis=1) & 1).astype(bool)


def outline(mask: NDArray[np.bool_]) -> Shape:
    """Outlines of a mask along the edges of its pixels; `rasterise` gives the mask back."""
    from rasterio.features import shapes as trace

    found = trace(mask.astype(np.uint8), mask=mask, connectivity=4)
    return tuple(
        tuple(np.asarray(ring[:-1], dtype=np.float64) for ring in geometry["coordinates"]) for geometry, _ in found
    )
