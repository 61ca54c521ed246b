"""The model as jobs see it: tile by tile, between the questions of those who wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from refersat.imagery import ImageSource
from refersat.service.worker import ModelWorker

if TYPE_CHECKING:
    from refersat.backend import Device
    from refersat.segmenter import Probability, Segmenter


class SharedModel:
    """Stands for a `Segmenter` where a scene is searched; its answers come from the worker's thread.

    Args:
        worker: who answers.
        check: called before each tile; raises where the job is to end.
    """

    def __init__(self, worker: ModelWorker, check: Callable[[], None]) -> None:
        self._worker = worker
        self._check = check

    @property
    def name(self) -> str:
        """See `Segmenter`."""
        return self._worker.segmenter.name

    @property
    def folder(self) -> Path | None:
        """See `Segmenter`."""
        return self._worker.segmenter.folder

    @property
    def device(self) -> Device:
        """See `Segmenter`."""
        return self._worker.segmenter.device

    @property
    def number_format(self) -> str:
        """See `Segmenter`."""
        return self._worker.segmenter.number_format

    @property
    def threshold(self) -> float:
        """See `Segmenter`."""
        return self._worker.segmenter.threshold

    def probabilities(
        self, questions: Iterable[tuple[ImageSource, str]], *, batch_size: int | None = None
    ) -> Iterator[Probability]:
        """See `Segmenter`. What is asked at once is the same whenever the same questions come."""
        segmenter = self._worker.segmenter
        for chunk in _chunks(questions, batch_size or segmenter.batch_size, alone=segmenter.device.type == "cpu"):
            self._check()
            yield from self._worker.do(partial(_answers, segmenter, chunk, batch_size))


def _answers(
    segmenter: Segmenter, chunk: Sequence[tuple[ImageSource, str]], batch_size: int | None
) -> list[Probability]:
    return list(segmenter.probabilities(chunk, batch_size=batch_size))


def _chunks(
    questions: Iterable[tuple[ImageSource, str]], size: int, *, alone: bool
) -> Iterator[list[tuple[ImageSource, str]]]:
    """`size` at a time, and where images are `alone` only such about one: nobody is to wait long."""
    chunk: list[tuple[ImageSource, str]] = []
    for image, phrase in questions:
        if chunk and (len(chunk) >= size or (alone and image is not chunk[-1][0])):
            yield chunk
            chunk = []
        chunk.append((image, phrase))
    if chunk:
        yield chunk
