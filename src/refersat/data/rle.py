"""COCO's run-length encoding of masks: `{"size": [height, width], "counts": runs}`.

The runs are lengths of background and foreground in turn, down one column after another. They are a list of numbers,
or a text ("compressed") in which a number takes one or more characters of 5 bits, least significant first: a character
is 48 + bits, + 32 where more of the number follows, and bit 16 of its last character is the sign. From the fourth
number on the text holds the difference to the run two before.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refersat.box import Box

MAX_PIXELS = 100_000_000
"""As for images; a few wrong digits in a size must not ask for all memory."""

_FIRST = 48
_DATA, _MORE, _SIGN = 31, 32, 16
_BITS = 5
_LONGEST = 7
"""Characters of one number: 35 bits."""


def decode(encoded: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Mask (height, width).

    Raises:
        ValueError: not such an encoding, or its runs do not fill its size.
    """
    height, width, runs = _read(encoded)
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def bounds(encoded: Mapping[str, Any]) -> Box | None:
    """Box around the foreground, found without making the mask; None where there is none.

    Raises:
        ValueError: as `decode`.
    """
    height, _, runs = _read(encoded)
    edges = np.cumsum(runs)
    last = edges[1::2] - 1
    first = edges[: 2 * len(last) : 2]
    filled = first <= last
    first, last = first[filled], last[filled]
    if not len(first):
        return None
    columns, rows = np.divmod(first, height)
    end_columns, end_rows = np.divmod(last, height)
    if (columns != end_columns).any():  # a run over the end of a column touches the lowest row and the uppermost
        top, bottom = 0, height
    else:
        top, bottom = int(rows.min()), int(end_rows.max()) + 1
    return float(columns[0]), float(top), float(end_columns[-1] + 1), float(bottom)


def _read(encoded: Mapping[str, Any]) -> tuple[int, int, NDArray[np.int64]]:
    try:
        height, width = (int(n) for n in encoded["size"])
        counts = encoded["counts"]
        runs = _decompress(counts) if isinstance(counts, (str, bytes)) else np.array(counts, dtype=np.int64).reshape(-1)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"not a run-length encoding ({error})") from None
    if min(height, width) < 0 or height * width > MAX_PIXELS:
        raise ValueError(f"a run-length encoding is for {width} x {height} pixels")
    # Runs that are too long are found before the sum, which they could overflow.
    if (len(runs) and (runs.min() < 0 or runs.max() > height * width)) or runs.sum() != height * width:
        raise ValueError("a run-length encoding does not fill its image")
    return height, width, runs


def _decompress(counts: str | bytes) -> NDArray[np.int64]:
    text = counts.encode("ascii") if isinstance(counts, str) else counts
    digits = np.frombuffer(text, np.uint8).astype(np.int64) - _FIRST
    if not len(digits):
        return digits
    if digits.min() < 0 or digits.max() >= 2 * _MORE:
        raise ValueError("its text holds other characters")
    ends = np.flatnonzero(digits < _MORE)
    if not len(ends) or ends[-1] != len(digits) - 1:
        raise ValueError("its text is cut short")
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if lengths.max() > _LONGEST:
        raise ValueError("its text holds a number that is too large")
    places = _BITS * (np.arange(len(digits)) - np.repeat(starts, lengths))
    values = np.add.reduceat((digits & _DATA) << places, starts)
    values -= np.where(digits[ends] & _SIGN, np.int64(1) << (_BITS * lengths), 0)
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values
