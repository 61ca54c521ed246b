"""The field's measures of visual grounding (Acc@t, mean and cumulative IoU of boxes), beside those of masks.

Shares are in percent. Source: Zhan et al., "RSVG: exploring data and models for visual grounding on remote sensing
data" (TGRS 2023), whose Pr@t is our Acc@t, so that it cannot be taken for that of masks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from refersat.box import Box, box_overlap
from refersat.evaluation.metrics import PRECISION_THRESHOLDS, iou, percent


@dataclass
class BoxTally:
    """Acc@t, mIoU and cumIoU over phrases that name something."""

    count: int = 0
    iou_sum: float = 0.0
    intersection: float = 0.0
    union: float = 0.0
    hits: list[int] = field(default_factory=lambda: [0] * len(PRECISION_THRESHOLDS))

    def add(self, prediction: Box, truth: Box) -> None:
        """Count one box; all boxes of a tally are in pixels, or large images would count like small ones."""
        intersection, union = box_overlap(prediction, truth)
        value = iou(intersection, union)
        self.count += 1
        self.iou_sum += value
        self.intersection += intersection
        self.union += union
        for place, threshold in enumerate(PRECISION_THRESHOLDS):
            self.hits[place] += value >= threshold

    def result(self) -> dict[str, float | int | None]:
        """`mIoU`, `cumIoU` and `Acc@0.5` ... `Acc@0.9` in percent (None without boxes), and `count`."""
        values: dict[str, float | int | None] = {
            "mIoU": percent(self.iou_sum, self.count),
            "cumIoU": 100 * iou(self.intersection, self.union) if self.count else None,
        }
        for threshold, hits in zip(PRECISION_THRESHOLDS, self.hits, strict=True):
            values[f"Acc@{threshold}"] = percent(hits, self.count)
        return values | {"count": self.count}
