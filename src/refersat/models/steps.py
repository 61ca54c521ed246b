"""How models came to their answers, for `Result.explain`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from refersat.models.pslg.system import PslgSteps


@dataclass(frozen=True, eq=False)
class RS2Sam2Steps:
    """What an RS2-SAM 2 thought of on its way, for one phrase; both stretch over the whole image.

    Attributes:
        pseudo_mask: (G, G) float32 probabilities of the mask prompt generator; None without one.
        candidates: (h, w) float32 probabilities that a cell shows the named kind; None without a candidate finder.
    """

    pseudo_mask: NDArray[np.float32] | None
    candidates: NDArray[np.float32] | None


Steps: TypeAlias = "RS2Sam2Steps | PslgSteps"
