"""The border of a scene that is no picture, though the file does not say so: as warping leaves it behind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

_LEAST_SHARE = 0.02  # of a scene's pixels; shadows and glare are less


@dataclass(frozen=True)
class Collar:
    """A value that a share (0 to 1) of a scene's pixels has in every band."""

    value: float
    share: float


def find_collar(sample: NDArray[Any], corners: NDArray[Any]) -> Collar | None:
    """What seems to be a collar: the lowest or the highest value, in every band, in a corner and in many pixels.

    Args:
        sample: values (C, 1, N) from everywhere in the scene.
        corners: those of its corners (C, 4).
    """
    for end in (sample.min(), sample.max()):
        share = float((sample == end).all(axis=0).mean())
        if _LEAST_SHARE <= share < 1 and (corners == end).all(axis=0).any():
            return Collar(float(end), share)
    return None
