"""What all kinds of models in PyTorch have in common: images and phrases in, answers out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.backend import Traits
from refersat.box import Box
from refersat.memory import LARGE_MODEL
from refersat.models.preprocess import preprocess
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.models.rs2sam2_output import RS2Sam2Output
from refersat.models.steps import RS2Sam2Steps, Steps

TOGETHER = 8
"""Phrases about one image that run together on a CPU: beyond that, their shared work no longer shows."""

BESIDE = 4
"""Images that a CPU answers side by side: Python runs one thread at a time, for a fifth of what they all do."""


@dataclass(frozen=True)
class Answer:
    """What a model says about one phrase and one image.

    Attributes:
        logits: (K, h, w) float32 on the CPU: K >= 1 masks that each stretch over the whole image, at any resolution.
            What the phrase names is their union.
        present: whether the target is there by the model's own rule; a mask without a pixel overrules it.
        score: in [0, 1], that the target is there; None where only the mask's own confidence tells.
        steps: how the model came to it; None where it has nothing to tell.
        boxes: where a model of two stages found the target before it drew it, in pixels of the image; else none.
    """

    logits: Tensor
    present: bool
    score: float | None
    steps: Steps | None = None
    boxes: tuple[Box, ...] = ()


class Answerer(Traits, Protocol):
    """A model that is ready to run, on its device and in its number format."""

    @property
    def dtype(self) -> torch.dtype:
        """The number format in which it computes."""

    def probability(self, logits: Tensor) -> Tensor:
        """Foreground probability in [0, 1] of mask logits, any shape."""

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Answer]:
        """Answer all phrases about all images; nothing about one answer depends on the others.

        Args:
            images: RGB (H, W, 3), sizes may differ.
            phrases: for each image what is asked about it, at least one phrase.

        Returns:
            The answers, image by image in the order of their phrases.
        """


class RS2Sam2Answerer:
    """An RS2-SAM 2 (or EVF-SAM 2) with its tokenizer, as an `Answerer`.

    Args:
        model: on its device, in its number format, in evaluation mode.
        tokenizer: phrases -> ids (B, L) and mask of real tokens (B, L).
        device: where the model is.
        dtype: the number format it is in.
    """

    def __init__(
        self,
        model: RS2Sam2Model,
        tokenizer: Callable[[Sequence[str]], tuple[Tensor, Tensor]],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.model = model
        self.parameters = sum(parameter.numel() for parameter in model.parameters())
        self.dtype = dtype
        self._tokenizer = tokenizer
        self._device = device

    @property
    def mask_threshold(self) -> float:
        """The configuration's."""
        return self.model.config.mask_threshold

    @property
    def phrases_at_once(self) -> int:
        """One for a large model whose trunk hears the phrase from its first block on: phrases share nothing there."""
        config = self.model.config
        shares = config.block_fusion not in ("uni", "bi") or config.fusion_from_block > 0
        return TOGETHER if shares or self.parameters < LARGE_MODEL else 1

    @property
    def images_at_once(self) -> int:
        """One for a large model: its layers keep all cores busy, and take gigabytes."""
        return BESIDE if self.parameters < LARGE_MODEL else 1

    def probability(self, logits: Tensor) -> Tensor:
        """See `RS2Sam2Model.probability`."""
        return self.model.probability(logits)

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Answer]:
        """One forward pass for all; see `Answerer.answer`."""
        config = self.model.config
        # The model wants as many phrases for each image: an image with more of them than others comes several times.
        counts = [len(asked) for asked in phrases]
        shared = math.gcd(*counts)
        times = torch.tensor([count // shared for count in counts])
        pixels, union_pixels = (view.repeat_interleave(times, 0) for view in preprocess(images, config))
        input_ids, attention_mask = self._tokenizer([phrase for asked in phrases for phrase in asked])
        output = self.model(
            pixels.to(self._device, self.dtype),
            union_pixels.to(self._device, self.dtype),
            input_ids.to(self._device),
            attention_mask.to(self._device),
        )
        logits = output.logits.float().cpu()
        steps = _steps(output)
        if config.presence != "object_score":
            return [
                Answer(mask, present=True, score=None, steps=each) for mask, each in zip(logits, steps, strict=True)
            ]
        scores = output.presence_logits.float().sigmoid().tolist()
        return [
            Answer(mask, present=score >= config.presence_threshold, score=score, steps=each)
            for mask, score, each in zip(logits, scores, steps, strict=True)
        ]


def _steps(output: RS2Sam2Output) -> list[RS2Sam2Steps]:
    """Phrase by phrase."""
    pseudo = None if output.pseudo_mask is None else output.pseudo_mask.float().cpu().numpy()
    found = None if output.candidates is None else output.candidates.logits.float().sigmoid().cpu().numpy()
    assert output.logits is not None
    return [
        RS2Sam2Steps(None if pseudo is None else pseudo[index, 0], None if found is None else found[index, 0])
        for index in range(len(output.logits))
    ]
