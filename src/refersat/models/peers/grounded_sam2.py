"""Grounding DINO + SAM 2: the phrase finds boxes, the best box gives the mask.

Grounding DINO is in `models.grounding`; SAM 2 (Ravi et al., arXiv 2408.00714) segments what is in the box.

One phrase, one box: the mask is that of the box with the highest score, never the union of several. A phrase that
names a group gets one of its members; but the other boxes of a phrase about one thing, which are mostly the things that
it is told apart from ("left of the ..."), do not end up in the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.models.answering import Answer
from refersat.models.grounding.grounding_dino import GroundingDino
from refersat.models.prompted.sam2 import Sam2
from refersat.models.prompted.segmenter import parameters_of

BOX_THRESHOLD = 0.25
"""The target is there when the best box's score is above: the threshold of Transformers' own processor."""


class GroundedSam2:
    """Grounding DINO and SAM 2 together as an `Answerer`. The score is the best box's.

    Both compute in float32 always: boxes are coordinates, and half precision would move them by pixels.
    """

    mask_threshold = 0.0
    phrases_at_once = 4  # each takes the detector hundreds of megabytes at the released size
    images_at_once = 1
    dtype = torch.float32

    def __init__(self, detector: GroundingDino, masks: Sam2) -> None:
        self._detector = detector
        self._masks = masks

    @classmethod
    def load(cls, detector: Path, masks: Path, *, device: torch.device) -> GroundedSam2:
        """Load the two from their folders of Transformers.

        Raises:
            UserError: something in a folder is damaged or does not fit.
        """
        return cls(GroundingDino.load(detector, device=device), Sam2.load(masks, device=device))

    @property
    def parameters(self) -> int:
        """Number of parameters of both."""
        return self._detector.parameters + parameters_of(self._masks)

    def probability(self, logits: Tensor) -> Tensor:
        """A plain sigmoid."""
        return logits.float().sigmoid()

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Answer]:
        """Image by image, each seen once by both for all its phrases; see `Answerer.answer`."""
        answers = []
        for image, asked in zip(images, phrases, strict=True):
            found = self._detector.ground(image, asked)
            masks = self._masks.segment(self._masks.see(image), found.boxes)
            answers += [
                Answer(mask[None].cpu(), present=score > BOX_THRESHOLD, score=score)
                for mask, score in zip(masks, found.scores.tolist(), strict=True)
            ]
        return answers
