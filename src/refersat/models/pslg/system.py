"""The two stages together: the grounder's box, a point in it, SAM's mask, its boundary moved to the colours."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.box import Box
from refersat.models.answering import Answer
from refersat.models.grounding.grounder import Grounder
from refersat.models.prompted.segmenter import PromptedSegmenter, Seen, parameters_of
from refersat.models.pslg.fine import Fine, FineStage
from refersat.models.pslg.options import PRESENT_FROM, PslgOptions

Joined: TypeAlias = tuple[Fine, Tensor, tuple[Box, ...]]
"""How the first box became a mask, the logits (H, W) of the union of all masks, and the boxes in pixels."""


@dataclass(frozen=True, eq=False)
class PslgSteps:
    """How PSLG-SAM came to an answer.

    Attributes:
        score: of the grounder's box, 0..1.
        threshold: the score from which on the target counts as there.
        fine: the box, and all that was made of it.
        grounding_seconds: what stage 1 took; of several phrases, the equal share.
        boxes: all of them in pixels, where the grounder tells the objects apart that the phrase names: `fine` is of the
            first, and each became a mask in the same way.
    """

    score: float
    threshold: float
    fine: Fine
    grounding_seconds: float
    boxes: tuple[Box, ...] = ()


class PslgSam:
    """PSLG-SAM as an `Answerer`. The score is the grounder's: it alone has read the phrase.

    All of it computes in float32: boxes and points are coordinates.

    Args:
        grounder: phrase to box.
        sam: box and point to mask.
        options: the steps around SAM, and when the target counts as there.
        shared: parameters that both networks have in common.
    """

    phrases_at_once = 4  # each keeps a mask of the image's size
    images_at_once = 1
    dtype = torch.float32

    def __init__(
        self, grounder: Grounder, sam: PromptedSegmenter, options: PslgOptions | None = None, *, shared: int = 0
    ) -> None:
        self._grounder = grounder
        self._shared = shared
        self._fine = FineStage(sam, options)
        chosen = self._fine.options.presence_threshold
        self.presence_threshold = PRESENT_FROM if chosen is None else chosen

    @property
    def parameters(self) -> int:
        """Number of parameters of both networks."""
        return self._grounder.parameters + parameters_of(self._fine.sam) - self._shared

    @property
    def mask_threshold(self) -> float:
        """SAM's."""
        return self._fine.sam.mask_threshold

    def probability(self, logits: Tensor) -> Tensor:
        """A plain sigmoid."""
        return logits.float().sigmoid()

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Answer]:
        """Image by image, each seen once by both networks for all its phrases; see `Answerer.answer`."""
        return [answer for image, asked in zip(images, phrases, strict=True) for answer in self._about(image, asked)]

    def _about(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> list[Answer]:
        began = time.perf_counter()
        grounded = self._grounder.ground(image, phrases)
        grounding = (time.perf_counter() - began) / len(phrases)
        seen = self._fine.see(image)
        # Each object that the grounder tells apart is a box of its own for SAM, which knows of no groups.
        if grounded.parts is None:
            fines = self._fine.segment(image, grounded.boxes, seen)
            joined: Iterable[Joined] = ((fine, fine.logits, (fine.box,)) for fine in fines)
        else:
            joined = (self._joined(image, boxes, seen) for boxes in grounded.parts)
        answers = []
        for score, (first, logits, corners) in zip(grounded.scores.tolist(), joined, strict=True):
            steps = PslgSteps(score, self.presence_threshold, first, grounding, corners)
            present = score >= self.presence_threshold
            answers.append(Answer(logits[None], present=present, score=score, steps=steps, boxes=corners))
        return answers

    def _joined(self, image: NDArray[np.uint8], boxes: Tensor, seen: Seen) -> Joined:
        """How the first box became a mask, the logits (H, W) of all masks' union, and the boxes in pixels."""
        first: Fine | None = None
        logits, corners = None, []
        for some in boxes.split(self.phrases_at_once):  # type: ignore[no-untyped-call]
            for fine in self._fine.segment(image, some, seen):
                first = first or fine
                corners.append(fine.box)
                logits = fine.logits if logits is None else torch.maximum(logits, fine.logits)
        assert first is not None and logits is not None
        return first, logits, tuple(corners)
