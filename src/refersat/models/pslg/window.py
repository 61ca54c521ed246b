"""The part of an image that a step around SAM looks at: whole pixels, shrunk when they are many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Window:
    """Whole pixels of an image: columns `left` up to `right`, rows `top` up to `bottom`; never empty.

    Attributes:
        left, top, right, bottom: in pixels of the image.
        height, width: of its view, which is smaller than the window when that is large.
    """

    left: int
    top: int
    right: int
    bottom: int
    height: int
    width: int

    @classmethod
    def around(cls, box: Sequence[float], shape: Sequence[int], *, margin: float = 0.0, longest: int) -> Window:
        """The window of a box, both in pixels of an image.

        Args:
            box: x0, y0, x1, y1, x right and y down; parts outside of the image are left out, and a box that lies
                outside altogether becomes the nearest pixel.
            shape: (H, W) of the image.
            margin: pixels added on each side.
            longest: the view has at most so many pixels along its longer side.
        """
        left, right = _whole(box[0] - margin, box[2] + margin, shape[1])
        top, bottom = _whole(box[1] - margin, box[3] + margin, shape[0])
        shrink = min(1.0, longest / max(right - left, bottom - top))
        height, width = max(1, round((bottom - top) * shrink)), max(1, round((right - left) * shrink))
        return cls(left, top, right, bottom, height, width)

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the view for one of the image, along x and y; at most 1."""
        return self.width / (self.right - self.left), self.height / (self.bottom - self.top)

    def crop(self, pixels: NDArray[np.generic]) -> NDArray[np.generic]:
        """The window's own pixels of an array (H, W, ...), not copied."""
        return pixels[self.top : self.bottom, self.left : self.right]

    def view(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The view (height, width, 3) of an image (H, W, 3): areas averaged where it is shrunk."""
        inside = np.ascontiguousarray(self.crop(image))
        if inside.shape[:2] == (self.height, self.width):
            return inside.astype(np.uint8, copy=False)
        return np.asarray(cv2.resize(inside, (self.width, self.height), interpolation=cv2.INTER_AREA), dtype=np.uint8)

    def view_mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The view (height, width) of a mask (H, W): what is foreground by more than half."""
        inside = self.crop(mask)
        if inside.shape == (self.height, self.width):
            return inside.astype(np.bool_)
        soft = cv2.resize(inside.astype(np.float32), (self.width, self.height), interpolation=cv2.INTER_AREA)
        return np.asarray(soft > 0.5)

    def unview_mask(self, view: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask of the view (height, width) at the size of the window's own pixels."""
        size = (self.right - self.left, self.bottom - self.top)
        if size == (self.width, self.height):
            return view
        return np.asarray(cv2.resize(view.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5)

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """A place of the view, in its pixels, as a place of the image."""
        across, down = self.scale
        return self.left + x / across, self.top + y / down


def _whole(low: float, high: float, size: int) -> tuple[int, int]:
    """Whole pixels from 0 to `size` that a stretch touches, at least one."""
    first = min(max(int(np.floor(low)), 0), size - 1)
    return first, min(max(int(np.ceil(high)), first + 1), size)
