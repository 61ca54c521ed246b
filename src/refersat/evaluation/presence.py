"""Measures of knowing that a phrase names nothing in the image, as counts that can be added up, in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from refersat.evaluation.metrics import percent


def auroc(positive: Sequence[float], negative: Sequence[float]) -> float | None:
    """Area under the ROC curve in 0..1: how often a positive scores above a negative, a tie counting one half.

    Computed from ranks (the Mann-Whitney statistic); None where either side is empty.
    """
    if not positive or not negative:
        return None
    scores = np.asarray([*positive, *negative], dtype=np.float64)
    if np.isnan(scores).any():
        raise ValueError("a score is not a number")
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(counts) - (counts - 1) / 2
    n = len(positive)
    wins = float(mean_rank[place[:n]].sum()) - n * (n + 1) / 2
    return wins / (n * len(negative))


@dataclass
class AbsentTally:
    """Answers to phrases that name nothing: their scores, how many were empty, and how much was painted."""

    scores: list[float] = field(default_factory=list)
    empty: int = 0
    painted: float = 0.0

    def add(self, score: float, painted_share: float) -> None:
        """Count one answer by its presence score and the share (0..1) of the image that it paints."""
        self.scores.append(score)
        self.empty += painted_share == 0
        self.painted += painted_share

    def result(self, present_scores: Sequence[float]) -> dict[str, float | int | None]:
        """The measures of absence in percent, the AUROC against the scores of all phrases that name something."""
        area = auroc(present_scores, self.scores)
        return {
            "absent_accuracy": percent(self.empty, len(self.scores)),
            "presence_auroc": None if area is None else 100 * area,
            "false_positive_area": percent(self.painted, len(self.scores)),
            "count_absent": len(self.scores),
        }


@dataclass
class PresenceTally:
    """Whether the model knows that a phrase names something; scores are kept, since AUROC needs their order."""

    present_scores: list[float] = field(default_factory=list)
    present_painted: int = 0
    absent: AbsentTally = field(default_factory=AbsentTally)
    absent_by_type: dict[str, AbsentTally] = field(default_factory=dict)

    def add_present(self, score: float, painted_share: float) -> None:
        """Count the answer to a phrase that names something."""
        self.present_scores.append(score)
        self.present_painted += painted_share > 0

    def add_absent(self, score: float, painted_share: float, *, type: str | None) -> None:
        """Count the answer to a phrase that names nothing; `type` None keeps it out of the classes."""
        self.absent.add(score, painted_share)
        if type is not None:
            self.absent_by_type.setdefault(type, AbsentTally()).add(score, painted_share)

    def result(self) -> dict[str, Any]:
        """The measures of absence and `present_recall` in percent, counts, and those of absence again `by_type`."""
        return {
            **self.absent.result(self.present_scores),
            "present_recall": percent(self.present_painted, len(self.present_scores)),
            "count_present": len(self.present_scores),
            "by_type": {
                name: self.absent_by_type[name].result(self.present_scores) for name in sorted(self.absent_by_type)
            },
        }
