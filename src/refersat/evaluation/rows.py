"""What is kept of each sample: one row of counts, from which every number of a report follows.

Rows are all that an evaluation remembers. Whatever is reported is computed from the rows in the order of the samples,
so that it cannot depend on who answered which sample, in which order, or after how many interruptions.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from refersat.evaluation.metrics import GroupedIouTally, iou, size_class
from refersat.evaluation.presence import PresenceTally

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refersat.evaluation.protocol import Protocol


@dataclass(frozen=True)
class Seconds:
    """Where the time for one sample went.

    Attributes:
        loading: the model waited for image and truth.
        model: resizing, network and resizing back.
        scoring: comparing answer and truth.
        background: reading and decoding, most of it while the model was at work on something else.
    """

    loading: float = 0.0
    model: float = 0.0
    scoring: float = 0.0
    background: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """The counts of one sample; areas are in the image's own pixels.

    Attributes:
        number: place among all samples of the evaluation, from 0.
        id: unique within its data set.
        dataset: name of the data set, None where there is only one that needs no name.
        image: which image it is about; samples of one image are not independent of each other.
        phrase: as published.
        type: kind of phrase, the data set's own or told from the words.
        category: kind of object, if known.
        score: in [0, 1], that the target is there, as the model says.
        present: whether it is there, as the model says.
        withheld: pixels were above the threshold, but the model said that the target is not there.
        pixels: of the image.
        target_area: pixels of the truth.
        predicted_area: pixels of the answer.
        overlaps: (intersection, union) by protocol; empty where the phrase names nothing.
        histogram: int64 (3, levels), see `refersat.evaluation.curves`; None where the phrase names nothing.
        seconds: where the time went.
    """

    id: str
    phrase: str
    type: str
    category: str | None
    score: float
    target_area: int
    predicted_area: int
    overlaps: dict[str, tuple[int, int]]
    pixels: int
    present: bool
    withheld: bool = False
    number: int = 0
    dataset: str | None = None
    image: str = ""
    histogram: NDArray[np.int64] | None = field(default=None, compare=False, repr=False)
    seconds: Seconds = field(default=Seconds(), compare=False, repr=False)

    @property
    def absent(self) -> bool:
        """The phrase names nothing in the image."""
        return not self.overlaps

    def iou(self, protocol: str) -> float | None:
        """Intersection over union in 0..1; None where the phrase names nothing."""
        return iou(*self.overlaps[protocol]) if self.overlaps else None

    def groups(self) -> dict[str, str]:
        """The group of each grouping of `metrics.GROUPINGS` that the sample is in."""
        names = {
            "by_dataset": self.dataset,
            "by_type": self.type,
            "by_size": None if self.absent else size_class(self.target_area / self.pixels),
            "by_category": self.category,
        }
        return {grouping: name for grouping, name in names.items() if name is not None}

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return values | {
            "histogram": None if self.histogram is None else self.histogram.tolist(),
            "seconds": [round(value, 6) for value in dataclasses.astuple(self.seconds)],
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SampleRow:
        """The row that `to_json` described."""
        histogram = values["histogram"]
        return cls(
            **values
            | {
                "overlaps": {name: (int(pair[0]), int(pair[1])) for name, pair in values["overlaps"].items()},
                "histogram": None if histogram is None else np.array(histogram, dtype=np.int64),
                "seconds": Seconds(*values["seconds"]),
            }
        )


@dataclass
class Evaluation:
    """The rows of one run under these protocols; every number is counted from them when it is asked for."""

    protocols: tuple[str, ...]
    rows: list[SampleRow] = field(default_factory=list)

    @classmethod
    def empty(cls, protocols: Iterable[Protocol]) -> Evaluation:
        """An evaluation without rows."""
        return cls(tuple(protocol.name for protocol in protocols))

    def merge(self, other: Evaluation) -> None:
        """Add the rows of another process, of other samples under the same protocols."""
        if self.protocols != other.protocols:
            raise ValueError(f"different protocols: {self.protocols} and {other.protocols}")
        self.rows = sorted([*self.rows, *other.rows], key=lambda row: row.number)

    @property
    def tallies(self) -> dict[str, GroupedIouTally]:
        """The overlaps with the truth, by protocol."""
        tallies = {name: GroupedIouTally() for name in self.protocols}
        for row in self.rows:
            groups = row.groups()
            for name, (intersection, union) in row.overlaps.items():
                tallies[name].add(intersection, union, groups)
        return tallies

    @property
    def presence(self) -> PresenceTally:
        """Whether the model knows what is there."""
        tally = PresenceTally()
        for row in self.rows:
            painted = row.predicted_area / row.pixels
            if row.absent:
                tally.add_absent(row.score, painted, type=row.type)
            else:
                tally.add_present(row.score, painted)
        return tally
