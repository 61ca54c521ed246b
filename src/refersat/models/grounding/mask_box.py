"""The box around the mask of a segmentation model: any model that answers phrases is a grounder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from refersat.box import mask_box
from refersat.models.answering import Answer, Answerer
from refersat.models.grounding.grounder import Grounded

Around = Literal["whole", "largest"]
"""Around all of the mask, or around its largest connected part, which stray pixels elsewhere cannot stretch."""


class MaskGrounder:
    """The box of an answerer's mask as a `Grounder`.

    The score is the answer's own, or where it has none the largest probability of its mask. A mask without a pixel has
    the box of its most probable one, and a score as low as the model's.

    Args:
        answerer: an RS2-SAM 2, or any other.
        around: see `Around`.
    """

    def __init__(self, answerer: Answerer, *, around: Around = "whole") -> None:
        self._answerer = answerer
        self._around: Around = around

    @property
    def parameters(self) -> int:
        """Number of the answerer's parameters."""
        return self._answerer.parameters

    @torch.inference_mode()
    def ground(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> Grounded:
        """As many phrases at once as the answerer likes; see `Grounder.ground`."""
        at_once = max(1, self._answerer.phrases_at_once)
        boxes: list[tuple[float, ...]] = []
        scores: list[float] = []
        for start in range(0, len(phrases), at_once):
            for answer in self._answerer.answer([image], [phrases[start : start + at_once]]):
                boxes.append(self._box(answer))
                scores.append(self._score(answer))
        return Grounded(torch.tensor(boxes), torch.tensor(scores))

    def _box(self, answer: Answer) -> tuple[float, ...]:
        logits = answer.logits.float().amax(0)
        mask = (logits > self._answerer.mask_threshold).numpy()
        if not mask.any():
            mask = (logits >= logits.max()).numpy()
        return _box_around(mask, self._around)

    def _score(self, answer: Answer) -> float:
        if answer.score is not None:
            return answer.score
        return float(self._answerer.probability(answer.logits.max()))


def _box_around(mask: NDArray[np.bool_], around: Around) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 around a mask (H, W) in shares of its sides, pixels whole; corners connect."""
    height, width = mask.shape
    if around == "largest":
        _, labels, statistics, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
        mask = labels == 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    x0, y0, x1, y1 = mask_box(mask)
    return x0 / width, y0 / height, x1 / width, y1 / height
