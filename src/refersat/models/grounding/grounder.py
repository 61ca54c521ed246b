"""What all grounders have in common: an image and phrases in, a box and a score for each phrase out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Grounded:
    """Where a grounder sees what each of B phrases names, on the CPU.

    Attributes:
        boxes: (B, 4) float32, x0, y0, x1, y1 from 0 to 1 of the image's width and height; never upside down.
        scores: (B,) float32 in 0..1, that the target is there.
        parts: for each phrase (T, 4), the boxes of the single objects that its box goes around, the surest first; None
            where the grounder does not tell objects apart.
    """

    boxes: Tensor
    scores: Tensor
    parts: tuple[Tensor, ...] | None = None


class Grounder(Protocol):
    """A network that finds the box of what a phrase names, ready to run."""

    @property
    def parameters(self) -> int:
        """Number of its parameters."""

    def ground(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> Grounded:
        """One box for each phrase, whether the target is there or not: the score tells.

        Args:
            image: RGB (H, W, 3).
            phrases: B of them, at least one; nothing about one answer depends on the others.
        """
