"""Images and masks between a picture's size and the graphs': what `models.preprocess` does, without PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray


def normalised(image: NDArray[np.uint8], mean: Sequence[float], std: Sequence[float]) -> list[NDArray[np.float32]]:
    """RGB (H, W, 3) -> its three channels (H, W) float32, with mean and deviation taken out."""
    levels = np.arange(256, dtype=np.float32) / np.float32(255)
    tables = [(levels - np.float32(m)) / np.float32(s) for m, s in zip(mean, std, strict=True)]
    return [table[image[..., channel]] for channel, table in enumerate(tables)]


def square(planes: Sequence[NDArray[np.float32]], side: int, *, antialias: bool) -> NDArray[np.float32]:
    """Channels (H, W) -> (C, side, side), bilinear, with a filter that widens where it shrinks if `antialias`."""
    if not antialias:
        return np.stack([resized(plane, side, side) for plane in planes])
    return np.stack(
        [np.asarray(PIL.Image.fromarray(plane).resize((side, side), PIL.Image.Resampling.BILINEAR)) for plane in planes]
    )


def resized(plane: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """(h, w) -> (height, width), bilinear between pixel centres; a new array."""
    if plane.shape == (height, width):
        return plane.copy()
    return np.asarray(cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR), dtype=np.float32)
