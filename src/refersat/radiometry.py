"""From stored values to 8 bits a colour: one linear stretch for a whole image or scene, never one a tile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from refersat.errors import UserError

STRETCH_PERCENTILES = (2.0, 98.0)
SAMPLED_PIXELS = 4_000_000
"""Percentiles of a regular sample of this size are good to a grey level."""

Stretch: TypeAlias = "Literal['percentile', 'none'] | tuple[float, float] | None"
"""How values become 0..255: by each band's 2nd and 98th percentile, not at all (what lies outside is cut), or linearly
from LO..HI. None: 8-bit values stay as they are, others by percentile."""

Range: TypeAlias = tuple[float, float]


def parse_stretch(text: str) -> Stretch:
    """`percentile`, `none` or `LO,HI`.

    Raises:
        UserError: it is something else, or LO is not below HI.
    """
    if text in ("percentile", "none"):
        return text  # type: ignore[return-value]
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low = high = math.nan
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UserError(f"--stretch takes percentile, none or two numbers LO,HI such as 0,3000, not {text!r}")
    return low, high


@dataclass(frozen=True, eq=False)
class Radiometry:
    """How the values of some bands become red, green and blue.

    Attributes:
        ranges: of each band, the values that become 0 and 255; None where they are 8-bit colours already.
        palette: (N, 3) uint8 colours of the values of the only band, or None.
        inks: whether the four bands are cyan, magenta, yellow and black.
    """

    ranges: tuple[Range, ...] | None = None
    palette: NDArray[np.uint8] | None = None
    inks: bool = False

    def rgb(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Bands (1, 3 or 4 inks, H, W) as colours (H, W, 3)."""
        colours = values if self.ranges is None else stretched(values, self.ranges)
        if self.palette is not None:
            painted: NDArray[np.uint8] = np.take(self.palette, values[0], axis=0, mode="clip")
            return painted
        if self.inks:
            ink = colours.astype(np.uint16)
            colours = ((255 - ink[:3]) * (255 - ink[3]) // 255).astype(np.uint8)
        if len(colours) == 3:
            return np.asarray(cv2.merge(list(colours)), dtype=np.uint8)  # in a fifth of the time of moving an axis
        colours = np.moveaxis(colours, 0, -1)
        return np.array(np.broadcast_to(colours, (*colours.shape[:2], 3)), order="C")


def find_ranges(
    sample: NDArray[Any], valid: NDArray[np.bool_] | None, stretch: Stretch = None, *, bits: int = 8
) -> tuple[Range, ...] | None:
    """The range of each band.

    Args:
        sample: values (C, H, W) that stand for the whole image.
        valid: which of its pixels count (H, W); all when None.
        stretch: see `Stretch`.
        bits: how many of an 8-bit value are used.

    Returns:
        For each band what becomes 0 and 255; None where the values are right as they are.

    Raises:
        UserError: values of this type are no image.
    """
    if sample.dtype != np.bool_ and not np.issubdtype(sample.dtype, np.integer) and sample.dtype.kind != "f":
        raise UserError(f"pixels of type {sample.dtype} cannot be shown as an image")
    if isinstance(stretch, tuple):
        return (stretch,) * len(sample)
    if sample.dtype == np.bool_:
        return ((0.0, 1.0),) * len(sample)
    if stretch != "percentile" and sample.dtype == np.uint8:
        return None if bits >= 8 else ((0.0, 2.0**bits - 1),) * len(sample)
    if stretch == "none":
        return ((0.0, 255.0),) * len(sample)
    return tuple(_percentiles(band, valid) for band in sample)


def _percentiles(band: NDArray[Any], valid: NDArray[np.bool_] | None) -> Range:
    """The 2nd and 98th percentile of one band (H, W), over its valid numbers."""
    step = max(1, int((band.size / SAMPLED_PIXELS) ** 0.5))
    sample = band[::step, ::step]
    counts = np.isfinite(sample) if valid is None else np.isfinite(sample) & valid[::step, ::step]
    if not counts.any():
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(sample[counts], STRETCH_PERCENTILES))
    if low == high:  # a few things on an even ground: the percentiles see the ground only
        low, high = float(sample[counts].min()), float(sample[counts].max())
    return low, high


def stretched(values: NDArray[Any], ranges: Sequence[Range]) -> NDArray[np.uint8]:
    """Bands (C, H, W), each linearly from its range to 0..255; what is no number becomes 0."""
    result = np.empty(values.shape, dtype=np.uint8)
    for band, out, (low, high) in zip(values, result, ranges, strict=True):
        scaled = (band.astype(np.float32) - np.float32(low)) * np.float32(255.0 / ((high - low) or 1.0))
        out[:] = np.rint(np.clip(np.nan_to_num(scaled), 0.0, 255.0))
    return result
