"""Run-length encodings by the book, number by number; the reader has another way round."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray


def runs(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of background and foreground in turn, column by column, background first."""
    counts = [0] if mask.size and mask[0, 0] else []
    return counts + [len(list(group)) for _, group in groupby(mask.T.reshape(-1).tolist())]


def compress(counts: list[int]) -> str:
    """The text of the runs, as in COCO's files."""
    text = ""
    for k, count in enumerate(counts):
        value = count - counts[k - 2] if k > 2 else count
        more = True
        while more:
            bits = value & 31
            value >>= 5
            more = value != (-1 if bits & 16 else 0)
            text += chr((bits | (32 if more else 0)) + 48)
    return text


def encode(mask: NDArray[np.bool_], *, compressed: bool = True) -> dict[str, Any]:
    """A mask as an annotation's segmentation."""
    counts = runs(mask)
    return {"size": list(mask.shape), "counts": compress(counts) if compressed else counts}
