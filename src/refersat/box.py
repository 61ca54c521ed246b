"""Boxes in the pixels of an image: around a mask, around other boxes, and what two of them have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1; x1 and y1 lie behind the last pixel."""


def mask_box(mask: NDArray[np.bool_]) -> Box:
    """The smallest box around a mask (H, W) that is not empty."""
    import numpy as np  # not above: what lists samples needs no arrays

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0]), float(rows[0]), float(columns[-1]) + 1, float(rows[-1]) + 1


def hull(boxes: Sequence[Box]) -> Box:
    """The smallest box around boxes, of which there is one at least."""
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def box_overlap(one: Box, other: Box) -> tuple[float, float]:
    """Areas of the intersection and of the union; a box upside down has no area."""
    shared = _area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    return shared, _area(one) + _area(other) - shared


def box_iou(one: Box, other: Box) -> float:
    """Intersection over union; 0 where both are without area."""
    shared, whole = box_overlap(one, other)
    return shared / whole if whole else 0.0


def _area(box: Box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)
