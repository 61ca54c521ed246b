"""Where the target of a sample is, be it told by a mask or by boxes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from refersat.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refersat.data.samples import Sample


def target_of(sample: Sample, shape: tuple[int, int]) -> NDArray[np.bool_] | None:
    """The mask of a sample, or its boxes filled in; None where it names nothing or the data set does not say.

    Args:
        sample: of an image of `shape`.
        shape: (H, W).

    Raises:
        UserError: the mask cannot be read or is not of that shape.
    """
    if sample.absent or (sample.load_mask is None and not sample.boxes):
        return None
    if sample.load_mask is not None:
        mask = sample.load_mask()
        if mask.shape != shape:
            raise UserError(
                f"sample {sample.id}: the mask has {mask.shape[1]}x{mask.shape[0]} pixels, "
                f"the image {shape[1]}x{shape[0]}; they must be the same"
            )
        return mask
    filled = np.zeros(shape, dtype=np.bool_)
    for x0, y0, x1, y1 in sample.boxes:
        filled[max(0, math.floor(y0)) : max(0, math.ceil(y1)), max(0, math.floor(x0)) : max(0, math.ceil(x1))] = True
    return filled
