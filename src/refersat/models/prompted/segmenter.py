"""What all promptable networks have in common: see an image once, then segment what boxes and points mark in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class Seen:
    """What a network made of an image, to be asked any number of times.

    Attributes:
        levels: its feature maps (1, C, h, w), for the network that made them.
        shares: of the width and the height of the network's view that are image; the rest on the right and below was
            filled up.
    """

    levels: tuple[Tensor, ...]
    shares: tuple[float, float] = (1.0, 1.0)


class PromptedSegmenter(Protocol):
    """A promptable network, ready to run. Its methods keep gradients; callers say when none are wanted."""

    @property
    def network(self) -> nn.Module:
        """The network itself, on its device, in evaluation mode until told otherwise."""

    @property
    def mask_decoder(self) -> nn.Module:
        """The part of it that makes masks: all that the "decoder fine-tuned" variant of PSLG-SAM trains."""

    @property
    def mask_threshold(self) -> float:
        """A pixel is foreground where its logit is above."""

    def see(self, image: NDArray[np.uint8]) -> Seen:
        """Encode an image, RGB (H, W, 3)."""

    def segment(self, seen: Seen, boxes: Tensor, points: Tensor | None = None) -> Tensor:
        """One mask for each of B prompts about one image; nothing about one depends on the others.

        Args:
            seen: what `see` made of the image.
            boxes: (B, 4) float32, x0, y0, x1, y1 from 0 to 1 of the image's width and height.
            points: (B, 2) float32, x and y of one point on each target, in the same measure; None for none.

        Returns:
            Logits (B, h, w) on the network's device that stretch over the whole image.
        """


def parameters_of(segmenter: PromptedSegmenter) -> int:
    """Number of the network's parameters."""
    return sum(parameter.numel() for parameter in segmenter.network.parameters())


def on_one_image(
    boxes: Tensor | None, points: Tensor | None, side: tuple[float, float], like: Tensor
) -> dict[str, Tensor]:
    """Prompts in the arguments of Transformers' SAM models: about one image, in pixels of a view.

    Args:
        boxes: (B, 4) from 0 to 1, or None.
        points: (B, 2) from 0 to 1, or None.
        side: width and height of the image in the view.
        like: says where the tensors go.
    """
    scale = like.new_tensor(side).float()
    prompts = {}
    if boxes is not None:
        prompts["input_boxes"] = (boxes.to(scale) * scale.repeat(2))[None]
    if points is not None:
        prompts["input_points"] = (points.to(scale) * scale)[None, :, None]
        prompts["input_labels"] = torch.ones(1, len(points), 1, dtype=torch.int32, device=scale.device)
    return prompts
