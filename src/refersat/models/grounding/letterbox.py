"""From pixels to the grounder's view: the longer side made to fit, the rest filled up on the right and below.

With the filling on these two sides alone, boxes in shares of the image are the same before and after.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from refersat.models.eye import eye_config
from refersat.models.grounding.configuration import GroundingConfig
from refersat.models.preprocess import normalise, square_view


def letterbox(images: Sequence[NDArray[np.uint8]], side: int) -> tuple[Tensor, Tensor]:
    """Make a batch of images ready for `GroundingModel`.

    Args:
        images: RGB arrays (H, W, 3) uint8, sizes may differ.
        side: S of the square.

    Returns:
        pixel_values (N, 3, S, S) float32, and valid (N, 2) float32: the shares of width and height that are image.
        What is filled up has ImageNet's mean colour.
    """
    pixel_values = torch.zeros(len(images), 3, side, side)
    valid = torch.empty(len(images), 2)
    for index, image in enumerate(images):
        height, width = fitted(image.shape[:2], side)
        scaled = F.interpolate(
            normalise(image), size=(height, width), mode="bilinear", align_corners=False, antialias=True
        )
        pixel_values[index, :, :height, :width] = scaled[0]
        valid[index] = torch.tensor([width / side, height / side])
    return pixel_values, valid


def views(images: Sequence[NDArray[np.uint8]], config: GroundingConfig) -> tuple[Tensor, Tensor]:
    """As `letterbox`, for a grounder: behind an eye, squares that do not keep the aspect ratio, as the eye knows them.

    Args:
        images: RGB arrays (H, W, 3) uint8, sizes may differ.
        config: of the grounder, with the side of the views.
    """
    if config.image_network != "eye":
        return letterbox(images, config.image_size)
    antialias = eye_config(config.eye).resize_antialias
    squares = [square_view(image, config.image_size, antialias=antialias) for image in images]
    return torch.cat(squares), torch.ones(len(images), 2)


def fitted(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Height and width of an image (H, W) in a letterbox of this side: the longer one is `side`, both at least 1."""
    longer = max(shape)
    height, width = (max(1, round(each * side / longer)) for each in shape)
    return height, width
