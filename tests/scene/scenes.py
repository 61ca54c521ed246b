"""What the tests of scenes share: a model that answers each pixel by itself, and pictures for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import rasterio
import torch
from affine import Affine
from numpy.typing import NDArray

from refersat.imagery import Image
from refersat.segmenter import Probability

UTM = "EPSG:32631"
METRE = Affine(1.0, 0.0, 500_000.0, 0.0, -1.0, 5_700_000.0)


class PixelModel:
    """Stands for a `Segmenter`: probability is brightness, wherever a pixel lies; nobody finds a "unicorn".

    With `blur`, a pixel's answer depends on its neighbours as far as a tile shows them.
    """

    name = "pixels"
    threshold = 0.5
    folder = None
    device = torch.device("cpu")
    number_format = "float32"

    def __init__(self, *, blur: int = 0) -> None:
        self.sizes: list[tuple[int, int]] = []
        self._blur = blur

    def probabilities(
        self, questions: Iterable[tuple[Image, str]], *, batch_size: int | None = None
    ) -> Iterator[Probability]:
        for image, phrase in questions:
            self.sizes.append((image.height, image.width))
            values = image.rgb.mean(axis=2, dtype=np.float32) / np.float32(255)
            if self._blur:
                values = cv2.blur(values, (self._blur, self._blur), borderType=cv2.BORDER_REPLICATE)
            if image.valid is not None:
                values = values * image.valid
            absent = "unicorn" in phrase
            yield Probability(values, not absent, 0.1 if absent else 0.9)


def read(path: Path) -> NDArray[Any]:
    """The first band of a raster."""
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def blobs(height: int, width: int, *, seed: int = 0, grain: int = 7) -> NDArray[np.uint8]:
    """Smooth bright and dark patches (H, W) of about `grain` pixels."""
    noise = np.random.default_rng(seed).random((height // grain + 3, width // grain + 3), dtype=np.float32)
    smooth = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint((smooth - 0.5) * 500 + 127), 0, 255).astype(np.uint8)
