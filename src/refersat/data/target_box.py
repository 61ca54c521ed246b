"""The one box of a sample's target, be it told by boxes or by a mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from refersat.box import Box, hull, mask_box
from refersat.data.target import target_of

if TYPE_CHECKING:
    from refersat.data.samples import Sample


def box_of_sample(sample: Sample, shape: tuple[int, int]) -> Box | None:
    """The box around all that the phrase names, in pixels; None where that is nothing or the data set does not say.

    It is that of the mask's pixels where there is a mask, for data sets draw their boxes more loosely. A mask without a
    pixel (RRSIS-D has three) has a box without area, which nothing can meet.

    Args:
        sample: of an image of `shape`.
        shape: (H, W).

    Raises:
        UserError: the mask cannot be read or is not of that shape.
    """
    if sample.absent:
        return None
    if sample.load_mask is None and sample.boxes:
        x0, y0, x1, y1 = hull(sample.boxes)
        return max(x0, 0.0), max(y0, 0.0), min(x1, float(shape[1])), min(y1, float(shape[0]))
    mask = target_of(sample, shape)
    if mask is None:
        return None
    return mask_box(mask) if mask.any() else (0.0, 0.0, 0.0, 0.0)
