"""The same work for many things, several at once, with the results in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

Thing = TypeVar("Thing")
Made = TypeVar("Made")


def side_by_side(
    work: Callable[[Thing], Made],
    things: Iterable[Thing],
    *,
    workers: int,
    pool: Callable[[int], ThreadPoolExecutor] = ThreadPoolExecutor,
) -> Iterator[Made]:
    """What is made of each thing, in their order; several are worked on at once.

    Args:
        work: several threads may run it at once.
        things: taken a few before their turn. What comes before an error of theirs is made before it is raised.
        workers: things at once. A single thing is worked on in the thread that asks.
        pool: makes so many threads.
    """
    if workers <= 1:
        yield from map(work, things)
        return
    errors: list[Exception] = []
    source = _until_error(things, errors)
    first = list(islice(source, 2))
    if len(first) < 2:
        yield from map(work, first)
    else:
        yield from _at_once(work, chain(first, source), workers, pool)
    if errors:
        raise errors[0]


def _until_error(things: Iterable[Thing], errors: list[Exception]) -> Iterator[Thing]:
    try:
        yield from things
    except Exception as error:
        errors.append(error)


def _at_once(
    work: Callable[[Thing], Made],
    things: Iterable[Thing],
    workers: int,
    pool: Callable[[int], ThreadPoolExecutor],
) -> Iterator[Made]:
    threads = pool(workers)
    waiting: deque[Future[Made]] = deque()
    try:
        for thing in things:
            waiting.append(threads.submit(work, thing))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
