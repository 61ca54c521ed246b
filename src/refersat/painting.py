"""How a mask looks on its image, wherever one is shown: tinted, with a bright outline on a dark halo."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MASK = (255, 40, 120)  # a magenta that neither land nor water nor roofs have
HALO = (20, 8, 14)
ABSENT = (255, 190, 60)


def tint(picture: NDArray[np.uint8], shape: NDArray[np.uint8], share: float) -> None:
    """Mix `share` of the mask's colour into a picture (H, W, 3) where `shape` (H, W) is 1."""
    table = np.rint(np.arange(256)[:, None] * (1 - share) + np.array(MASK) * share).astype(np.uint8)
    cv2.copyTo(cv2.LUT(picture, table[None]), shape, picture)


def outline(picture: NDArray[np.uint8], shape: NDArray[np.uint8], *, thickness: int, halo: int) -> None:
    """Draw the outline of `shape` (H, W), 0 or 1, into a picture (H, W, 3), in pixels; `halo` 0 leaves that out."""
    outlines, _ = cv2.findContours(shape, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if halo:
        cv2.drawContours(picture, outlines, -1, HALO, halo, cv2.LINE_AA)
    cv2.drawContours(picture, outlines, -1, MASK, thickness, cv2.LINE_AA)


def faded(picture: NDArray[np.uint8], *, colour: float, light: float) -> NDArray[np.uint8]:
    """A picture (H, W, 3) in which nothing was found: of its colours and its light only these shares are left."""
    weights = light * (colour * np.eye(3) + (1 - colour) / 3)  # what is not colour is grey, the mean of all three
    return np.asarray(cv2.transform(picture, weights), dtype=np.uint8)
