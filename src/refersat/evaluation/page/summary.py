"""What the charts show, counted from the rows of `per_sample.csv`; every share is in 0..1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from refersat.evaluation.page.charts import Bin, ReliabilityBin

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refersat.evaluation.rows import SampleRow

Curve = list[tuple[float, float]]


@dataclass(frozen=True)
class Answers:
    """The numbers of all samples that the charts need: `ious` and `present` of those with a target, in one order."""

    ious: NDArray[np.float64]
    present: NDArray[np.float64]
    absent: NDArray[np.float64]

    @classmethod
    def of(cls, rows: Sequence[SampleRow], protocol: str) -> Answers:
        """IoU under that protocol; scores of phrases with a target (`present`) and without (`absent`)."""
        values = [row.iou(protocol) for row in rows]
        return cls(
            ious=np.array([value for value in values if value is not None], dtype=np.float64),
            present=np.array([row.score for row in rows if not row.absent], dtype=np.float64),
            absent=np.array([row.score for row in rows if row.absent], dtype=np.float64),
        )


def histogram_bins(*groups: NDArray[np.float64], bins: int = 20) -> list[Bin]:
    """How many values of each group lie in each of `bins` equal parts of 0..1, whose last holds 1 itself."""
    edges = np.linspace(0, 1, bins + 1)
    counts = [np.histogram(np.clip(group, 0, 1), bins=edges)[0] for group in groups]
    return [Bin(float(edges[k]), float(edges[k + 1]), tuple(int(count[k]) for count in counts)) for k in range(bins)]


def share_at_least(values: NDArray[np.float64], *, steps: int = 50) -> Curve:
    """(t, share of values >= t) for t = 0 ... 1; no points without values."""
    if not values.size:
        return []
    # Rounded, so that thresholds such as 0.7 are as they are written: Pr@t counts values >= t.
    places = [round(k / steps, 6) for k in range(steps + 1)]
    return [(place, float(np.mean(values >= place))) for place in places]


def calibration_error(bins: Sequence[ReliabilityBin]) -> float | None:
    """Expected calibration error: mean distance of probability and truth over all answers; None without answers."""
    total = sum(item.count for item in bins)
    if not total:
        return None
    return sum(item.count * abs(item.mean_probability - item.share_true) for item in bins) / total
