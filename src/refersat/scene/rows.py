"""From the model's grid back to the scene's pixels, a few rows at a time: linear interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Line:
    """One axis with `source` pixels that is shown with `target` pixels; the outer edges coincide."""

    source: int
    target: int

    @cached_property
    def _taps(self) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """Of each target pixel: the source pixel before it, and how far it lies towards the next."""
        place = (np.arange(self.target) + 0.5) * (self.source / self.target) - 0.5
        place = np.clip(place, 0, self.source - 1)
        before = np.minimum(np.floor(place).astype(np.intp), max(self.source - 2, 0))
        return before, (place - before).astype(np.float32)

    @cached_property
    def _last(self) -> NDArray[np.intp]:
        """Of each target pixel: the last source pixel that it depends on."""
        before, share = self._taps
        return before + (share > 0)

    @property
    def plain(self) -> bool:
        """Whether nothing changes."""
        return self.source == self.target

    def first_needed(self, target: int) -> int:
        """The first source pixel on which target pixels from `target` on depend."""
        return int(self._taps[0][target]) if target < self.target else self.source

    def last_needed(self, target: int) -> int:
        """The last source pixel on which target pixels before `target` depend."""
        return int(self._last[target - 1])

    def ready(self, source: int) -> int:
        """How many target pixels depend on none but the first `source` source pixels."""
        return int(np.searchsorted(self._last, source, side="left"))

    def interpolate(
        self, values: NDArray[np.float32], axis: int, *, offset: int = 0, first: int = 0, stop: int | None = None
    ) -> NDArray[np.float32]:
        """Target pixels first..stop along an axis of `values`, which begin with source pixel `offset`."""
        before, share = self._taps[0][first:stop] - offset, self._taps[1][first:stop]
        share = share[:, None] if axis == 0 else share[None, :]
        low = np.take(values, before, axis=axis)
        high = np.take(values, before + 1, axis=axis, mode="clip")  # beyond the last, where its share is nothing
        result: NDArray[np.float32] = low + (high - low) * share
        return result
