"""A COCO annotation's `segmentation`, in each of its forms.

- a list of polygons, each `[x, y, x, y, ...]`; several are parts of one object,
- a run-length encoding (see `rle`), or, as in RRSIS-D, a list of them; several are parts of one object,
- nothing at all (absent, null, an empty list): the annotation outlines no object.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refersat.box import Box
from refersat.data import rle, shapes
from refersat.data.shapes import Shape
from refersat.errors import UserError

SIZE_TOLERANCE = 0.05
"""A mask whose sides differ from its image's by no more than this share is stretched onto the image.

Some images of RRSIS-D have 787 or 802 rows where their masks have 800. Everybody else resizes both to one size and does
not notice.
"""


def is_empty(segmentation: Any) -> bool:
    """Whether an annotation outlines nothing; an encoding of a mask without foreground still is an outline."""
    return not segmentation


def shape_of(segmentation: Any) -> Shape:
    """Outlines in pixels.

    Raises:
        ValueError: it has none of the forms above.
    """
    if _is_encoded(segmentation):
        return shapes.outline(_decode(segmentation))
    return _polygons(segmentation)


def mask_of(segmentation: Any, size: tuple[int, int] | None) -> NDArray[np.bool_]:
    """Mask (height, width); `size` is (width, height) of the image, which polygons need.

    Raises:
        ValueError: it has none of the forms above, or `size` is missing.
    """
    if _is_encoded(segmentation):
        return _decode(segmentation)
    if size is None:
        raise ValueError("polygons need the width and height of the image")
    width, height = size
    return shapes.rasterise([shapes.clip(_polygons(segmentation), width, height)], width, height)


def box_of(segmentation: Any, size: tuple[int, int] | None) -> Box | None:
    """Box around the object; None where it has no pixels. `size` is (width, height) of the image, if known.

    Raises:
        ValueError: it has none of the forms above.
    """
    if _is_encoded(segmentation):
        boxes = [rle.bounds(part) for part in _parts(segmentation)]
        return _around([box for box in boxes if box is not None])
    outlines = _polygons(segmentation)
    if size is not None:
        outlines = shapes.clip(outlines, *size)
    return shapes.bounds(outlines) if outlines else None


@dataclass(frozen=True)
class SegmentedMask:
    """Makes the truth of a sample when called: the union of the segmentations of its targets.

    Attributes:
        segmentations: one for each target.
        size: (width, height) that the listing says of the image, if it does.
        image: whose grid the mask is brought to where the two differ by no more than `SIZE_TOLERANCE`.
        place: where the segmentations stand, for messages.
    """

    segmentations: tuple[Any, ...]
    size: tuple[int, int] | None
    image: Path
    place: str

    def __call__(self) -> NDArray[np.bool_]:
        """Mask (H, W).

        Raises:
            UserError: a segmentation is malformed.
        """
        mask = self.stored()
        size = _size_of(self.image)
        return mask if size is None else _fitted(mask, *size)

    def stored(self) -> NDArray[np.bool_]:
        """Mask in its own size, which may differ from the image's.

        Raises:
            UserError: a segmentation is malformed, or they are of different sizes.
        """
        size = self.size or _size_of(self.image)
        try:
            first, *others = [mask_of(segmentation, size) for segmentation in self.segmentations]
        except (TypeError, ValueError) as error:
            raise UserError(f"{self.place}: the segmentation cannot be read ({error})") from None
        if any(other.shape != first.shape for other in others):
            raise UserError(f"{self.place}: the segmentations of one phrase are for images of different sizes")
        return np.logical_or.reduce([first, *others]) if others else first


def _is_encoded(segmentation: Any) -> bool:
    return isinstance(segmentation, dict) or (
        isinstance(segmentation, list) and bool(segmentation) and isinstance(segmentation[0], dict)
    )


def _parts(segmentation: Any) -> list[Any]:
    return [segmentation] if isinstance(segmentation, dict) else segmentation


def _decode(segmentation: Any) -> NDArray[np.bool_]:
    first, *others = [rle.decode(part) for part in _parts(segmentation)]
    if any(other.shape != first.shape for other in others):
        raise ValueError("its parts are of different sizes")
    return np.logical_or.reduce([first, *others]) if others else first


def _polygons(segmentation: Any) -> Shape:
    parts = []
    for numbers in segmentation:
        ring = np.asarray(numbers, dtype=np.float64).reshape(-1, 2)
        if not np.isfinite(ring).all():
            raise ValueError("a polygon has a corner that is not a number")
        if len(ring) >= 3:
            parts.append((ring,))
    return tuple(parts)


def _around(boxes: list[Box]) -> Box | None:
    if not boxes:
        return None
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _size_of(image: Path) -> tuple[int, int] | None:
    """(width, height) from the head of an image file; None where it cannot be read, which its reader will tell."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(image) as opened:
            return opened.size
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None


def _fitted(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.bool_]:
    """The mask on the image's grid by nearest neighbour, or as it is where they are too different."""
    rows, columns = mask.shape
    if (rows, columns) == (height, width):
        return mask
    if abs(rows - height) > SIZE_TOLERANCE * height or abs(columns - width) > SIZE_TOLERANCE * width:
        return mask
    row = ((np.arange(height) + 0.5) * rows / height).astype(np.intp)
    column = ((np.arange(width) + 0.5) * columns / width).astype(np.intp)
    return np.asarray(mask[row[:, None], column])
