"""Grounding DINO + SAM 2: the phrase finds boxes, the best box gives the mask.

Grounding DINO is in `models.grounding`; SAM 2 (Ravi et al., arXiv 2408.00714) segments what is in the box.

One phrase, one box: the mask is that of the box with the highest score, never the union of several. A phrase that
names a group gets one of its members; but the other boxes of a phrase about one thing, which are mostly the things that
it is told apart from ("left of the ..."), do not end up in the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import Sam2Model

from refersat.models.answering import Answer
from refersat.models.grounding.grounding_dino import GroundingDino
from refersat.models.peers.preparation import Preparation
from refersat.models.peers.pretrained import load_network

BOX_THRESHOLD = 0.25
"""The target is there when the best box's score is above: the threshold of Transformers' own processor."""


class GroundedSam2:
    """Grounding DINO and SAM 2 together as an `Answerer`. The score is the best box's.

    Both compute in float32 always: boxes are coordinates, and half precision would move them by pixels.
    """

    mask_threshold = 0.0
    phrases_at_once = 4  # each takes the detector hundreds of megabytes at the released size
    dtype = torch.float32

    def __init__(self, detector: GroundingDino, masks: BoxSegmenter) -> None:
        self._detector = detector
        self._masks = masks

    @classmethod
    def load(cls, detector: Path, masks: Path, *, device: torch.device) -> GroundedSam2:
        """Load the two from their folders of Transformers.

        Raises:
            UserError: something in a folder is damaged or does not fit.
        """
        return cls(GroundingDino.load(detector, device=device), BoxSegmenter.load(masks, device=device))

    @property
    def parameters(self) -> int:
        """Number of parameters of both."""
        return self._detector.parameters + sum(parameter.numel() for parameter in self._masks.model.parameters())

    def probability(self, logits: Tensor) -> Tensor:
        """A plain sigmoid."""
        return logits.float().sigmoid()

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Answer]:
        """Image by image, each seen once by both for all its phrases; see `Answerer.answer`."""
        answers = []
        for image, asked in zip(images, phrases, strict=True):
            found = self._detector.ground(image, asked)
            answers += [
                Answer(mask[None].cpu(), present=score > BOX_THRESHOLD, score=score)
                for mask, score in zip(self._masks(image, found.boxes), found.scores.tolist(), strict=True)
            ]
        return answers


class BoxSegmenter:
    """SAM 2: boxes to one mask each.

    Args:
        model: on its device, in evaluation mode.
        preparation: of its images.
    """

    def __init__(self, model: Sam2Model, preparation: Preparation) -> None:
        self.model = model
        self._preparation = preparation
        config: Any = model.config
        self._side = int(config.prompt_encoder_config.image_size)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device) -> BoxSegmenter:
        """Load it from a folder of Transformers.

        Raises:
            UserError: something in the folder is damaged or does not fit.
        """
        preparation = Preparation().read(folder)
        return cls(load_network(Sam2Model, folder, device=device, dtype=torch.float32), preparation)

    def __call__(self, image: NDArray[np.uint8], boxes: Tensor) -> Tensor:
        """Mask logits (B, h, w) of boxes (B, 4), x0, y0, x1, y1 from 0 to 1; the image is seen once."""
        boxes = boxes.to(self.model.device)
        embeddings = self.model.get_image_embeddings(self._preparation.to_square(image, self._side).to(boxes.device))
        output = self.model(image_embeddings=embeddings, input_boxes=boxes[None] * self._side, multimask_output=False)
        return cast(Tensor, output.pred_masks[0, :, 0])
