"""Small pictures and masks for the made data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def picture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise (height, width, 3), another one for each seed."""
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)


def rectangle(width: int, height: int, x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    """Mask (height, width) of one rectangle."""
    mask = np.zeros((height, width), np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask


def save_picture(path: Path, width: int, height: int, seed: int = 0) -> None:
    """Write a picture in the format of the suffix; TIFF with PackBits, as RefSegRS has it."""
    _save(path, picture(width, height, seed))


def save_mask(path: Path, mask: NDArray[np.bool_], *, bands: int = 1, white: int = 255) -> None:
    """Write a mask of 0 and `white` in one band or three; TIFF with PackBits."""
    grey = mask.astype(np.uint8) * np.uint8(white)
    _save(path, grey if bands == 1 else np.repeat(grey[..., None], bands, axis=2))


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"compression": "packbits"} if path.suffix == ".tif" else {}
    Image.fromarray(pixels).save(path, **options)
