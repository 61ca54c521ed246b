"""From pixels to a peer's input, as its repository's files say.

Transformers' own image processors for these models need torchvision, which must match the installed PyTorch to the
build; what they do is resize, rescale and normalise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from refersat.errors import UserError
from refersat.models.folder import read_json
from refersat.models.preprocess import IMAGENET_MEAN, IMAGENET_STD

_INTERPOLATIONS = {2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, which the files use."""

_STEPS = ("do_resize", "do_rescale", "do_normalize")


@dataclass(frozen=True)
class Preparation:
    """How a peer wants its images.

    Attributes:
        mean, std: of the three channels, for values in 0..1.
        interpolation: "bilinear" or "bicubic"; both average when they shrink.
        shortest_edge, longest_edge: for models that take any size: the shorter side becomes the first, unless the
            longer one would become more than the second.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    interpolation: str = "bilinear"
    shortest_edge: int = 800
    longest_edge: int = 1333

    def read(self, folder: Path) -> Preparation:
        """What the folder's files say, and this where they say nothing.

        Raises:
            UserError: they say what makes no sense, or ask for more than is done here.
        """
        path, content = _find(folder)
        try:
            if any(content.get(step) is False for step in _STEPS) or content.get("do_center_crop"):
                raise ValueError("images are resized, rescaled and normalised, and never cropped")
            if abs(float(content.get("rescale_factor") or 1 / 255) - 1 / 255) > 1e-6:
                raise ValueError("the rescale factor is 1/255")
            size = content.get("size") or {}
            return replace(
                self,
                mean=_three_numbers(content.get("image_mean") or self.mean),
                std=_three_numbers(content.get("image_std") or self.std),
                interpolation=_INTERPOLATIONS[content.get("resample") or 2],
                shortest_edge=int(size.get("shortest_edge") or self.shortest_edge),
                longest_edge=int(size.get("longest_edge") or self.longest_edge),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{path} asks for images that refersat cannot prepare: {error}") from error

    def to_square(self, image: NDArray[np.uint8], side: int) -> Tensor:
        """RGB (H, W, 3) -> (1, 3, side, side) float32; the aspect ratio is not kept."""
        return self._prepared(image, (side, side))

    def to_fit(self, image: NDArray[np.uint8]) -> Tensor:
        """RGB (H, W, 3) -> (1, 3, h, w) float32 within `shortest_edge` and `longest_edge`; the aspect ratio is kept."""
        from transformers.image_transforms import get_size_with_aspect_ratio

        height, width = get_size_with_aspect_ratio(image.shape[:2], self.shortest_edge, self.longest_edge)
        return self._prepared(image, (max(height, 32), max(width, 32)))  # 32: one cell of the coarsest feature map

    def _prepared(self, image: NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
        # In whole grey levels, as the networks were trained.
        pixels = torch.as_tensor(image).permute(2, 0, 1)[None]
        pixels = F.interpolate(pixels, size, mode=self.interpolation, align_corners=False, antialias=True)
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (pixels.float() / 255 - mean) / std


def _find(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """The description of the images, in a file of its own or inside that of the whole processor."""
    own, whole = folder / "preprocessor_config.json", folder / "processor_config.json"
    if own.is_file():
        return own, read_json(own)
    content = read_json(whole).get("image_processor") if whole.is_file() else None
    return whole, content if isinstance(content, dict) else {}


def _three_numbers(values: Any) -> tuple[float, ...]:
    numbers = tuple(float(value) for value in values)
    if len(numbers) != 3:
        raise ValueError(f"mean and deviation are three numbers each, not {len(numbers)}")
    return numbers
