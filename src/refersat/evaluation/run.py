"""Asks a segmenter about samples and counts what it answers: every protocol from one run of the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from refersat.evaluation.curves import histogram
from refersat.evaluation.metrics import overlap
from refersat.evaluation.protocol import logit
from refersat.evaluation.reading import Loaded, Question, read_ahead
from refersat.evaluation.rows import Evaluation, SampleRow, Seconds
from refersat.text.phrase_type import classify

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refersat.data.samples import Sample
    from refersat.evaluation.protocol import Protocol
    from refersat.result import Result
    from refersat.segmenter import Segmenter


@dataclass(frozen=True, eq=False)
class Answer:
    """What the model said about one sample, and the counts of it; `truth` is None where the phrase names nothing."""

    row: SampleRow
    result: Result
    truth: NDArray[np.bool_] | None


def evaluate_samples(
    segmenter: Segmenter,
    samples: Sequence[Sample],
    *,
    protocols: Sequence[Protocol],
    threshold: float | None = None,
    batch_size: int | None = None,
    on_sample: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Ask the segmenter for every sample and compare with the truth, in memory.

    `threshold` is the probability above which a pixel is foreground, None for the model's own. `on_sample` is called
    after each sample.

    Raises:
        UserError: an image or mask cannot be read, or they are of different sizes.
    """
    evaluation = Evaluation.empty(protocols)
    questions = [Question(number, sample) for number, sample in enumerate(samples)]
    units = units_of(questions, segmenter, batch_size)
    for answer in answers(segmenter, units, protocols=protocols, threshold=threshold, batch_size=batch_size):
        evaluation.rows.append(answer.row)
        on_sample()
    return evaluation


def units_of(questions: Sequence[Question], segmenter: Segmenter, batch_size: int | None) -> list[list[Question]]:
    """The questions in the groups in which the model answers them together, whoever answers and whatever came before.

    A unit is one batch: as many questions as the batch size says; on a CPU that was told none, of one image only.
    """
    size = segmenter.batch_size if batch_size is None else batch_size
    one_image = batch_size is None and segmenter.device.type == "cpu"
    units: list[list[Question]] = []
    for question in questions:
        last = units[-1] if units else []
        if last and len(last) < size and not (one_image and last[-1].sample.image != question.sample.image):
            last.append(question)
        else:
            units.append([question])
    return units


def answers(
    segmenter: Segmenter,
    units: Sequence[Sequence[Question]],
    *,
    protocols: Sequence[Protocol],
    threshold: float | None = None,
    batch_size: int | None = None,
) -> Iterator[Answer]:
    """The answers to all questions, in their order; each unit of `units_of` is a stream of its own for the segmenter.

    Raises:
        UserError: see `evaluate_samples`.
    """
    cut = segmenter.threshold if threshold is None else threshold
    ahead = 1 + max((len(unit) for unit in units), default=0)
    with closing(read_ahead((question for unit in units for question in unit), ahead=ahead)) as loaded:
        for unit in units:
            began = time.perf_counter()
            items = [next(loaded) for _ in unit]
            asked = time.perf_counter()
            loading = (asked - began) / len(unit)
            questions = [(item.image, item.question.sample.phrase) for item in items]
            results = segmenter.stream(questions, threshold=threshold, batch_size=batch_size)
            for item in items:
                result = next(results)
                answered = time.perf_counter()
                row = measure(item, result, protocols, cut)
                seconds = Seconds(
                    loading=loading,
                    # The first answer of a batch takes the time of the whole batch: only sums make sense.
                    model=answered - asked,
                    scoring=time.perf_counter() - answered,
                    background=item.seconds,
                )
                yield Answer(replace(row, seconds=seconds), result, item.truth)
                asked = time.perf_counter()


def measure(item: Loaded, result: Result, protocols: Sequence[Protocol], threshold: float) -> SampleRow:
    """Count one answer; `threshold` is the probability above which the pixels of `result.mask` are foreground."""
    sample, truth = item.question.sample, item.truth
    overlaps = {}
    if truth is not None:
        logits = logit(result.probability) if any(protocol.size is not None for protocol in protocols) else None
        overlaps = {
            protocol.name: overlap(protocol.prediction(result, threshold, logits), protocol.truth(truth))
            for protocol in protocols
        }
    painted = int(np.count_nonzero(result.mask))
    return SampleRow(
        number=item.question.number,
        id=sample.id,
        dataset=item.question.dataset,
        image=sample.image_id or sample.image.name,
        phrase=sample.phrase,
        type=sample.type or classify(sample.phrase),
        category=sample.category,
        score=float(result.score),
        present=bool(result.present),
        withheld=painted == 0 and bool((result.probability > threshold).any()),
        pixels=result.mask.size,
        target_area=0 if truth is None else int(np.count_nonzero(truth)),
        predicted_area=painted,
        overlaps=overlaps,
        histogram=None if truth is None else histogram(result.probability, truth),
    )
