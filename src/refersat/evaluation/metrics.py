"""The field's measures of referring segmentation (mIoU, oIoU, Pr@t), as counts that can be added up.

Tallies keep numbers only, never masks. Every share is in percent. The exact rules stand in docs/reference/metrics.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

PRECISION_THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
GROUPINGS = ("by_dataset", "by_type", "by_size", "by_category")

# Upper bounds of the target's share of the image; a share equal to a bound belongs to the next class.
SIZE_CLASSES = ((0.005, "<0.5%"), (0.02, "0.5-2%"), (0.08, "2-8%"), (float("inf"), ">8%"))


def overlap(prediction: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[int, int]:
    """Pixels in the intersection and in the union of two bool masks of one shape (H, W)."""
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of different shapes: {prediction.shape} and {truth.shape}")
    return int(np.count_nonzero(prediction & truth)), int(np.count_nonzero(prediction | truth))


def iou(intersection: float, union: float) -> float:
    """Intersection over union in 0..1; 0 where the union is empty, as in the code of RMSIN, LGCE, FIANet and MAFN."""
    return intersection / union if union else 0.0


def size_class(share: float) -> str:
    """Name of the class for a target that covers `share` (0..1) of its image."""
    return next(name for bound, name in SIZE_CLASSES if share < bound)


def percent(part: float, whole: int) -> float | None:
    """`part` of `whole` in percent; None of nothing."""
    return 100 * part / whole if whole else None


@dataclass
class IouTally:
    """mIoU, oIoU and Pr@t over samples that have a target."""

    count: int = 0
    iou_sum: float = 0.0
    intersection: int = 0
    union: int = 0
    hits: list[int] = field(default_factory=lambda: [0] * len(PRECISION_THRESHOLDS))

    def add(self, intersection: int, union: int) -> None:
        """Count one sample by the pixels of its intersection and union."""
        value = iou(intersection, union)
        self.count += 1
        self.iou_sum += value
        self.intersection += intersection
        self.union += union
        for k, threshold in enumerate(PRECISION_THRESHOLDS):
            self.hits[k] += value >= threshold

    def result(self) -> dict[str, float | int | None]:
        """`mIoU`, `oIoU`, `Pr@0.5` ... `Pr@0.9` in percent (None without samples) and `count`."""
        values: dict[str, float | int | None] = {
            "mIoU": percent(self.iou_sum, self.count),
            # All unions empty is an overlap of 0 as well, as for one sample.
            "oIoU": 100 * iou(self.intersection, self.union) if self.count else None,
        }
        for threshold, hits in zip(PRECISION_THRESHOLDS, self.hits, strict=True):
            values[f"Pr@{threshold}"] = percent(hits, self.count)
        return values | {"count": self.count}


@dataclass
class GroupedIouTally:
    """An `IouTally` of all samples, and one for each group of each grouping (by type of phrase, by size, ...)."""

    overall: IouTally = field(default_factory=IouTally)
    groups: dict[str, dict[str, IouTally]] = field(default_factory=dict)

    def add(self, intersection: int, union: int, groups: Mapping[str, str]) -> None:
        """Count one sample; `groups` says for each grouping of `GROUPINGS` which group it is in, if in any."""
        self.overall.add(intersection, union)
        for grouping, name in groups.items():
            self.groups.setdefault(grouping, {}).setdefault(name, IouTally()).add(intersection, union)

    def sorted_groups(self) -> dict[str, dict[str, IouTally]]:
        """The tallies of every grouping that has groups: sizes ascending, data sets as met, the others alphabetic."""
        return {
            grouping: {name: members[name] for name in _in_order(grouping, members)}
            for grouping in GROUPINGS
            if (members := self.groups.get(grouping))
        }

    def result(self) -> dict[str, Any]:
        """The overall numbers, then those of each group, by grouping."""
        return {
            **self.overall.result(),
            **{
                key: {name: tally.result() for name, tally in group.items()}
                for key, group in self.sorted_groups().items()
            },
        }


def _in_order(grouping: str, names: Mapping[str, IouTally]) -> list[str]:
    if grouping == "by_size":
        return [name for _, name in SIZE_CLASSES if name in names]
    return list(names) if grouping == "by_dataset" else sorted(names)
