"""A part of an image, enlarged to a panel, and what is drawn on it in the image's own pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from refersat.painting import HALO

SIDE = 384
"""Longer side of a view in pixels."""

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Panel:
    """One step.

    Attributes:
        picture: (h, w, 3), at most `SIDE` high and wide.
        title: a few words.
        detail: a sentence or two.
    """

    picture: NDArray[np.uint8]
    title: str
    detail: str


class View:
    """A window of an image, as large as a panel; drawing changes `picture`.

    Args:
        rgb: the image (H, W, 3).
        window: left, top, right, bottom in whole pixels of the image, not empty.
    """

    def __init__(self, rgb: NDArray[np.uint8], window: Sequence[int]) -> None:
        self.left, self.top, right, bottom = window
        self._right, self._bottom = right, bottom
        self.scale = SIDE / max(right - self.left, bottom - self.top)
        self._size = max(1, round((right - self.left) * self.scale)), max(1, round((bottom - self.top) * self.scale))
        crop = np.ascontiguousarray(rgb[self.top : bottom, self.left : right])
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_CUBIC
        self.picture = np.asarray(cv2.resize(crop, self._size, interpolation=how), dtype=np.uint8)

    def of_image(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask (H, W) of the image, at the picture's size."""
        return self.of_window(mask[self.top : self._bottom, self.left : self._right])

    def of_window(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask (h, w) that stretches over the window, at the picture's size; its pixels stay visible."""
        return np.asarray(
            cv2.resize(mask.astype(np.uint8), self._size, interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
        )

    def place(self, x: float, y: float) -> tuple[int, int]:
        """Column and row of a place of the image."""
        return round((x - self.left) * self.scale - 0.5), round((y - self.top) * self.scale - 0.5)

    def dim(self, mask: NDArray[np.bool_], to: float = 0.35) -> None:
        """Darken where the mask (at the picture's size) is."""
        self.picture[mask] = np.rint(self.picture[mask] * to).astype(np.uint8)

    def tint(self, mask: NDArray[np.bool_], colour: Colour, share: float = 0.4) -> None:
        """Mix a colour in where the mask (at the picture's size) is."""
        mixed = self.picture[mask] * (1 - share) + np.array(colour) * share
        self.picture[mask] = np.rint(mixed).astype(np.uint8)

    def outline(self, mask: NDArray[np.bool_], colour: Colour, width: int = 2) -> None:
        """Draw around the mask (at the picture's size), on a dark halo."""
        lines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(self.picture, lines, -1, HALO, width + 2, cv2.LINE_AA)
        cv2.drawContours(self.picture, lines, -1, colour, width, cv2.LINE_AA)

    def box(self, box: Sequence[float], colour: Colour) -> None:
        """Draw a box of the image."""
        corners = self.place(box[0], box[1]), self.place(box[2], box[3])
        cv2.rectangle(self.picture, *corners, HALO, 5, cv2.LINE_AA)
        cv2.rectangle(self.picture, *corners, colour, 2, cv2.LINE_AA)

    def point(self, x: float, y: float, colour: Colour) -> None:
        """Draw a point of the image: a disc in a ring, which is seen on any ground."""
        centre = self.place(x, y)
        for radius, fill in ((10, HALO), (8, (255, 255, 255)), (5, colour)):
            cv2.circle(self.picture, centre, radius, fill, -1, cv2.LINE_AA)

    def label(self, text: str, x: float, y: float) -> None:
        """Write a few characters around a place of the image."""
        (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        column, row = self.place(x, y)
        column = min(max(column - width // 2, 2), max(2, self._size[0] - width - 2))
        row = min(max(row + height // 2, height + 2), max(height + 2, self._size[1] - 3))
        for colour, thickness in ((HALO, 4), ((255, 255, 255), 1)):
            cv2.putText(
                self.picture, text, (column, row), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, thickness, cv2.LINE_AA
            )
