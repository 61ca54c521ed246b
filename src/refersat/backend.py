"""What a `Segmenter` drives: a model with the library that computes it. Nothing here needs that library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from refersat.box import Box

if TYPE_CHECKING:
    from refersat.models.steps import Steps


@dataclass(frozen=True, eq=False)
class Said:
    """What a model says about one phrase and one image.

    Attributes:
        logits_at: height, width -> logits (H, W) float32 of what the phrase names, at that size.
        present: whether the target is there by the model's own rule; a mask without a pixel overrules it.
        score: in [0, 1], that the target is there; None where only the mask's own confidence tells.
        steps: how the model came to it; None where it has nothing to tell.
        boxes: where a model of two stages found the target before it drew it, in pixels of the image; else none.
    """

    logits_at: Callable[[int, int], NDArray[np.float32]]
    present: bool
    score: float | None
    steps: Steps | None = None
    boxes: tuple[Box, ...] = ()


class Device(Protocol):
    """Where a model runs; a `torch.device` is one."""

    @property
    def type(self) -> str:
        """For example cpu or cuda."""


class Traits(Protocol):
    """What is to be known of a model that is ready to run, whatever computes it."""

    @property
    def parameters(self) -> int:
        """Number of the model's parameters."""

    @property
    def mask_threshold(self) -> float:
        """A pixel is foreground where its logit is above."""

    @property
    def phrases_at_once(self) -> int:
        """How many phrases about one image a CPU answers best together, with a thought for its memory."""

    @property
    def images_at_once(self) -> int:
        """How many images a CPU answers best side by side; 1 also if only one thread may ask at a time."""


class Backend(Traits, Protocol):
    """A model that is ready to run, arrays in and arrays out."""

    @property
    def device(self) -> Device:
        """Where it runs."""

    @property
    def dtype(self) -> Any:
        """The number format in which it computes, as its library has it."""

    @property
    def number_format(self) -> str:
        """In words, on which answers depend: the format to compute in, and how weights are kept."""

    def pool(self, workers: int) -> ThreadPoolExecutor:
        """Threads in which `answer` may run side by side; they share what cores there are."""

    def probability(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Foreground probability in [0, 1] of mask logits, any shape; a new array."""

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Said]:
        """Answer all phrases about all images; nothing about one answer depends on the others.

        Args:
            images: RGB (H, W, 3), sizes may differ.
            phrases: for each image what is asked about it, at least one phrase.

        Returns:
            The answers, image by image in the order of their phrases.

        Raises:
            UserError: the device has too little memory for so many at once.
        """
