"""Drawn images with known targets."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
GROUND: Colour = (70, 90, 60)
THING: Colour = (190, 180, 170)


def ground(height: int, width: int, colour: Colour = GROUND) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def disc(shape: Sequence[int], x: float, y: float, radius: float) -> NDArray[np.bool_]:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return np.asarray((columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2)


def painted(
    image: NDArray[np.uint8], mask: NDArray[np.bool_], colour: Colour = THING, *, noise: float = 0.0, seed: int = 0
) -> NDArray[np.uint8]:
    """The image with the mask in a colour, grain on all of it, and edges as soft as a sensor's."""
    pixels = image.astype(np.float32)
    pixels[mask] = colour
    pixels = cv2.GaussianBlur(pixels, (0, 0), 0.7)
    grain = np.random.default_rng(seed).normal(0, noise, image.shape) if noise else 0
    return np.clip(np.rint(pixels + grain), 0, 255).astype(np.uint8)


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def is_on(mask: NDArray[np.bool_], x: float, y: float) -> bool:
    return bool(mask[min(int(y), mask.shape[0] - 1), min(int(x), mask.shape[1] - 1)])


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())
