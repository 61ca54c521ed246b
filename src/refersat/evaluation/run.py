"""Runs a segmenter over samples, and counts: every protocol from one run of the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from refersat.errors import UserError
from refersat.evaluation.metrics import GroupedIouTally, overlap, size_class
from refersat.evaluation.presence import PresenceTally

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refersat.data.samples import Sample
    from refersat.evaluation.protocol import Protocol
    from refersat.result import Result
    from refersat.segmenter import Segmenter


@dataclass(frozen=True)
class SampleRow:
    """What is kept of one sample: `overlaps` gives (intersection, union) by protocol, and is empty without a target."""

    id: str
    phrase: str
    type: str | None
    category: str | None
    score: float
    target_area: int
    predicted_area: int
    overlaps: dict[str, tuple[int, int]]


@dataclass
class Evaluation:
    """The counts of one run, by protocol; `merge` adds those of another process over other samples."""

    tallies: dict[str, GroupedIouTally]
    presence: PresenceTally = field(default_factory=PresenceTally)
    rows: list[SampleRow] = field(default_factory=list)
    model_seconds: float = 0.0

    @classmethod
    def empty(cls, protocols: Sequence[Protocol]) -> Evaluation:
        """An evaluation that has counted nothing yet."""
        return cls({protocol.name: GroupedIouTally() for protocol in protocols})

    def add(self, row: SampleRow, *, pixels: int) -> None:
        """Count one sample whose image has that many pixels."""
        self.rows.append(row)
        painted = row.predicted_area / pixels
        if not row.overlaps:
            self.presence.add_absent(row.score, painted, type=row.type)
            return
        self.presence.add_present(row.score, painted)
        size = size_class(row.target_area / pixels)
        for name, (intersection, union) in row.overlaps.items():
            self.tallies[name].add(intersection, union, type=row.type, size=size)

    def merge(self, other: Evaluation) -> None:
        """Add what another run counted, under the same protocols."""
        if self.tallies.keys() != other.tallies.keys():
            raise ValueError(f"different protocols: {list(self.tallies)} and {list(other.tallies)}")
        for name, tally in other.tallies.items():
            self.tallies[name].merge(tally)
        self.presence.merge(other.presence)
        self.rows += other.rows
        self.model_seconds += other.model_seconds


def evaluate_samples(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    *,
    protocols: Sequence[Protocol],
    threshold: float | None = None,
    batch_size: int | None = None,
    on_sample: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Ask the segmenter for every sample and compare with the truth.

    `threshold` is the probability above which a pixel is foreground, None for the model's own. `on_sample` is called
    after each sample.

    Raises:
        UserError: an image or mask cannot be read, or they are of different sizes.
    """
    evaluation = Evaluation.empty(protocols)
    cut = segmenter.threshold if threshold is None else threshold
    questions = ((str(sample.image), sample.phrase) for sample in samples)  # as text: equal neighbours are read once
    results = segmenter.stream(questions, threshold=threshold, batch_size=batch_size)
    for sample, result in zip(samples, results, strict=True):
        evaluation.add(_measure(sample, result, protocols, cut), pixels=result.mask.size)
        evaluation.model_seconds += result.seconds
        on_sample()
    return evaluation


def _measure(sample: Sample, result: Result, protocols: Sequence[Protocol], threshold: float) -> SampleRow:
    truth = None if sample.load_mask is None else _truth_of(sample, result.mask.shape)
    overlaps = {}
    if truth is not None:
        overlaps = {p.name: overlap(p.prediction(result, threshold), p.truth(truth)) for p in protocols}
    return SampleRow(
        id=sample.id,
        phrase=sample.phrase,
        type=sample.type,
        category=sample.category,
        score=float(result.score),
        target_area=0 if truth is None else int(np.count_nonzero(truth)),
        predicted_area=int(np.count_nonzero(result.mask)),
        overlaps=overlaps,
    )


def _truth_of(sample: Sample, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    assert sample.load_mask is not None
    truth = sample.load_mask()
    if truth.shape != shape:
        raise UserError(
            f"sample {sample.id}: the mask has {truth.shape[1]}x{truth.shape[0]} pixels, "
            f"the image {shape[1]}x{shape[0]}; they must be the same"
        )
    return truth
