"""Reads images and truths in the background, so that the model seldom waits for a disk."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from refersat.data.target import target_of
from refersat.imagery import Image, read_image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from refersat.data.samples import Sample


@dataclass(frozen=True)
class Question:
    """A sample to be asked about: its place among all samples of the evaluation, and the data set that it is of."""

    number: int
    sample: Sample
    dataset: str | None = None


@dataclass(frozen=True, eq=False)
class Loaded:
    """A question with its pixels; `truth` is bool (H, W), None where the phrase names nothing."""

    question: Question
    image: Image
    truth: NDArray[np.bool_] | None
    seconds: float


def read_ahead(questions: Iterable[Question], *, ahead: int) -> Generator[Loaded]:
    """The questions in their order, with at most `ahead` of them read and not yet taken.

    Neighbours about the same file share one `Image`.

    Raises:
        UserError: an image or a mask cannot be read, or they are of different sizes; at that question's turn.
    """
    reader = _Reader()
    waiting: deque[Future[Loaded]] = deque()
    upcoming = iter(questions)
    # One thread: it keeps the order, and decoding is far faster than any model.
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reader") as thread:
        try:
            waiting.extend(thread.submit(reader.load, question) for question in islice(upcoming, ahead))
            while waiting:
                loaded = waiting.popleft().result()
                waiting.extend(thread.submit(reader.load, question) for question in islice(upcoming, 1))
                yield loaded
        finally:
            thread.shutdown(wait=False, cancel_futures=True)


class _Reader:
    """Remembers the last image."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._image: Image | None = None

    def load(self, question: Question) -> Loaded:
        began = time.perf_counter()
        sample = question.sample
        if self._image is None or self._path != sample.image:
            self._path, self._image = sample.image, read_image(sample.image)
        # Data with boxes alone was refused by `questions.read_questions`.
        truth = target_of(sample, (self._image.height, self._image.width))
        return Loaded(question, self._image, truth, time.perf_counter() - began)
