"""From pixels to the model's two views: plain (aspect-breaking) bilinear resizes, ImageNet statistics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np

    from refersat.models.rs2sam2 import RS2Sam2Config

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def preprocess(images: Sequence[np.ndarray], config: RS2Sam2Config) -> tuple[Tensor, Tensor]:
    """Make a batch of images ready for `RS2Sam2Model`.

    Args:
        images: RGB arrays (H, W, 3) uint8, sizes may differ.
        config: gives the sizes S (`image_size`) and U (`union_image_size`) and the resize's anti-aliasing.

    Returns:
        pixel_values (B, 3, S, S) and union_pixel_values (B, 3, U, U), float32.
    """
    views = [
        (
            _resize(pixels, config.image_size, antialias=config.resize_antialias),
            _resize(pixels, config.union_image_size, antialias=config.resize_antialias),
        )
        for pixels in (normalise(image) for image in images)
    ]
    return torch.cat([view for view, _ in views]), torch.cat([view for _, view in views])


def square_view(image: np.ndarray, side: int, *, antialias: bool) -> Tensor:
    """RGB (H, W, 3) uint8 -> (1, 3, side, side) float32, normalised."""
    return _resize(normalise(image), side, antialias=antialias)


def normalise(image: np.ndarray) -> Tensor:
    """RGB (H, W, 3) uint8 -> (1, 3, H, W) float32 with ImageNet mean and deviation."""
    pixels = torch.as_tensor(image).permute(2, 0, 1)[None].float() / 255
    mean = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return (pixels - mean) / std


def _resize(pixels: Tensor, side: int, *, antialias: bool) -> Tensor:
    return F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False, antialias=antialias)


def reduced(pixel_values: Tensor, share: float) -> Tensor:
    """A coarser view: (N, 3, S, S) -> (N, 3, S', S'), S' the multiple of 32 nearest to that share of S."""
    side = max(1, round(pixel_values.shape[-1] * share / 32)) * 32
    return F.interpolate(pixel_values, (side, side), mode="area")
