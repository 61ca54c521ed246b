"""Images that go through the model together; one that cannot be answered takes no other with it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from refersat.batch.rows import Unit
from refersat.errors import UserError

if TYPE_CHECKING:
    from refersat.imagery import Image
    from refersat.result import Result

Ask: TypeAlias = "Callable[[Iterable[tuple[Image, str]]], Iterator[Result]]"
"""As `Segmenter.stream`: takes as many questions as it has room for, and answers them in their order."""


@dataclass(frozen=True)
class Prepared:
    """A unit on its way from its file to its answers' files.

    Attributes:
        unit: what is asked about which image.
        seconds: of work on it so far.
        image: None for a scene, and where it could not be read.
        error: why it failed, if so.
        results: its answers, once they are there.
    """

    unit: Unit
    seconds: float = 0.0
    image: Image | None = None
    error: str | None = None
    results: tuple[Result, ...] | None = None

    @property
    def pixels(self) -> int:
        """Of its answers."""
        return 0 if self.image is None else len(self.unit.phrases) * self.image.height * self.image.width


def answered(units: Iterable[Prepared], ask: Ask, most_pixels: int) -> Iterator[Prepared]:
    """The same units in their order, with answers where there is an image and the answers are small.

    Args:
        units: taken while the model works.
        ask: the model.
        most_pixels: of the answers in memory at once; a unit that has more alone is handed on unanswered.
    """
    source = iter(units)
    unit = next(source, None)
    while unit is not None:
        if unit.image is None or unit.pixels > most_pixels:
            yield unit
            unit = next(source, None)
        else:
            run = _Run(unit, source, most_pixels)
            yield from run.answered(ask)
            unit = run.following()


class _Run:
    """Units side by side of which the model is asked in one stream."""

    def __init__(self, first: Prepared, source: Iterator[Prepared], most_pixels: int) -> None:
        self._next: Prepared | None = first
        self._source = source
        self._most_pixels = most_pixels
        self._asked: deque[Prepared] = deque()
        self._error: Exception | None = None

    def answered(self, ask: Ask) -> Iterator[Prepared]:
        """Its units."""
        results: list[Result] = []
        with suppress(Exception):  # whose fault it is, and what it is, comes out below
            for result in ask(self._questions()):
                results.append(_kept(result))
                if len(results) == len(self._asked[0].unit.phrases):
                    unit = self._asked.popleft()
                    yield replace(
                        unit, results=tuple(results), seconds=unit.seconds + sum(one.seconds for one in results)
                    )
                    results = []
        while self._asked:
            yield _alone(self._asked.popleft(), ask)

    def following(self) -> Prepared | None:
        """The unit after it, if there is one.

        Raises:
            Exception: what came up when it was taken.
        """
        if self._error is not None:
            raise self._error
        return next(self._source, None) if self._next is None else self._next

    def _questions(self) -> Iterator[tuple[Image, str]]:
        while (unit := self._next) is not None and self._has_room(unit):
            self._asked.append(unit)
            self._next = None
            yield from _questions(unit)
            try:
                self._next = next(self._source, None)
            except Exception as error:  # not the model's
                self._error = error

    def _has_room(self, unit: Prepared) -> bool:
        return unit.image is not None and unit.pixels + sum(one.pixels for one in self._asked) <= self._most_pixels


def _alone(unit: Prepared, ask: Ask) -> Prepared:
    began = time.perf_counter()
    results, error = None, None
    try:
        results = tuple(_kept(result) for result in ask(_questions(unit)))
    except Exception as failure:
        error = reason(failure)
    return replace(unit, results=results, error=error, seconds=unit.seconds + time.perf_counter() - began)


def _questions(unit: Prepared) -> Iterator[tuple[Image, str]]:
    if unit.image is not None:
        yield from ((unit.image, phrase) for phrase in unit.unit.phrases)


def _kept(result: Result) -> Result:
    # How the model came to it is told nowhere, and may be larger than the answer.
    return replace(result, steps=None)


def reason(error: Exception) -> str:
    """What a row says of its failure."""
    text = " ".join(str(error).split())
    return text if isinstance(error, UserError) else f"{type(error).__name__}: {text}"
