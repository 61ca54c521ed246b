"""What another threshold would have given, and whether probabilities mean what they say.

Each answer is kept as a histogram of its probabilities, in `LEVELS` equal levels, over all pixels and over the true
ones. The sums from a level upwards are the areas that the thresholds between levels paint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refersat.evaluation.rows import SampleRow

LEVELS = 20
THRESHOLDS = tuple(level / LEVELS for level in range(1, LEVELS))
CALIBRATION_BINS = 10

_STEPS = 12  # finer steps in each level, for the mean probability of its pixels; LEVELS * _STEPS fits 8 bits
_BLOCK = 2**22  # pixels at once


def histogram(probability: NDArray[np.float32], truth: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Counts by level of probability for two arrays (H, W): int64 (3, LEVELS).

    Level k holds the probabilities in (k / LEVELS, (k + 1) / LEVELS], the first one 0 as well. The rows are all pixels,
    true pixels, and the sum of all pixels' probabilities in units of 1 / (2 * LEVELS * 12).
    """
    found = np.zeros((3, LEVELS), dtype=np.int64)
    flat, flat_truth = probability.reshape(-1), truth.reshape(-1)
    for start in range(0, flat.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        # Rounded up, so that level k begins just above k / LEVELS: a pixel is foreground *above* the threshold.
        fine = np.ceil(flat[part] * np.float32(LEVELS * _STEPS)).astype(np.uint8)
        every = _count(fine)
        found[0] += every.sum(axis=1)
        found[1] += _count(fine[flat_truth[part]]).sum(axis=1)
        found[2] += (every * _middles()).sum(axis=1)
    return found


def _count(fine: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How many of each step: (LEVELS, _STEPS)."""
    counts = np.bincount(fine, minlength=LEVELS * _STEPS + 1)
    counts[1] += counts[0]
    return counts[1:].reshape(LEVELS, _STEPS)


def _middles() -> NDArray[np.int64]:
    """The middle of each step (LEVELS, _STEPS) in halves of a step."""
    return (2 * np.arange(LEVELS * _STEPS) + 1).reshape(LEVELS, _STEPS)


def curves(rows: Sequence[SampleRow]) -> dict[str, Any]:
    """What `metrics.json` holds under "curves": threshold curves and calibrations, on the images' own pixels."""
    return {**threshold_curves(rows), **calibration(rows)}


def threshold_curves(rows: Sequence[SampleRow]) -> dict[str, list[float]]:
    """mIoU, oIoU and Pr@0.5 in percent at each of `thresholds`; empty lists without samples that have a target.

    An answer that the model withheld because it took the target for absent stays empty at every threshold.
    """
    chosen = [row for row in rows if row.histogram is not None]
    if not chosen:
        return {"thresholds": [], "mIoU": [], "oIoU": [], "Pr@0.5": []}
    counts = np.stack([row.histogram for row in chosen if row.histogram is not None])[:, :2]
    counts[[row.withheld for row in chosen]] = 0
    above = counts[:, :, ::-1].cumsum(axis=2)[:, :, ::-1][:, :, 1:]  # (samples, 2, thresholds)
    painted, intersection = above[:, 0], above[:, 1]
    union = painted + np.array([[row.target_area] for row in chosen]) - intersection
    overlap = intersection / np.maximum(union, 1)
    return {
        "thresholds": list(THRESHOLDS),
        "mIoU": (100 * overlap.mean(axis=0)).tolist(),
        "oIoU": (100 * intersection.sum(axis=0) / np.maximum(union.sum(axis=0), 1)).tolist(),
        "Pr@0.5": (100 * (overlap >= 0.5).mean(axis=0)).tolist(),
    }


def calibration(rows: Sequence[SampleRow]) -> dict[str, list[dict[str, float | int | None]]]:
    """Reliability diagrams: in each of ten bins of probability, how many were true.

    `pixel_calibration` is over all pixels of the images whose phrase has a target, before any threshold;
    `presence_calibration` over the scores of all phrases, empty unless some have a target and some do not.
    """
    total = sum((row.histogram for row in rows if row.histogram is not None), np.zeros((3, LEVELS), dtype=np.int64))
    pixels = total.reshape(3, CALIBRATION_BINS, -1).sum(axis=2)
    absent = np.array([row.absent for row in rows], dtype=np.bool_)
    presence: list[dict[str, float | int | None]] = []
    if absent.any() and not absent.all():
        scores = np.clip([row.score for row in rows], 0.0, 1.0)
        place = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
        presence = _bins(*(np.bincount(place, weights, CALIBRATION_BINS) for weights in (None, ~absent, scores)))
    return {
        "pixel_calibration": _bins(pixels[0], pixels[1], pixels[2] / (2 * LEVELS * _STEPS)) if pixels[0].any() else [],
        "presence_calibration": presence,
    }


def _bins(counts: NDArray[Any], true: NDArray[Any], probability: NDArray[Any]) -> list[dict[str, float | int | None]]:
    """One entry for each bin; `probability` is the sum over the bin, and shares are in 0..1."""
    found: list[dict[str, float | int | None]] = []
    for k, count in enumerate(counts.tolist()):
        found.append(
            {
                "low": k / CALIBRATION_BINS,
                "high": (k + 1) / CALIBRATION_BINS,
                "count": int(count),
                "mean_probability": float(probability[k]) / count if count else None,
                "share_true": float(true[k]) / count if count else None,
            }
        )
    return found
