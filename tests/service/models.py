"""Models whose pace a test decides."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from refersat.imagery import Image
from refersat.segmenter import Segmenter


class Gated:
    """Stands for a `Segmenter`: each call waits until the gate is open; calls are counted.

    Args:
        segmenter: answers in the end.
    """

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self.gate = threading.Event()
        self.batches: list[list[str]] = []
        self.tiles = 0
        self.busy = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._segmenter, name)

    def batch(self, images: Sequence[Image], phrases: Sequence[str], **words: Any) -> list[Any]:
        self._pass()
        self.batches.append(list(phrases))
        return self._segmenter.batch(images, phrases, **words)

    def probabilities(self, questions: Iterable[tuple[Image, str]], **words: Any) -> Iterator[Any]:
        self._pass()
        self.tiles += 1
        yield from self._segmenter.probabilities(questions, **words)

    def _pass(self) -> None:
        self.busy.set()
        assert self.gate.wait(60)
