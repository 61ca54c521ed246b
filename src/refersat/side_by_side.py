"""The same work for many things, several at once, with the results in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from threading import Barrier
from typing import TypeVar

import torch

Thing = TypeVar("Thing")
Made = TypeVar("Made")


def side_by_side(work: Callable[[Thing], Made], things: Iterable[Thing], *, most: int) -> Iterator[Made]:
    """What is made of each thing, in their order; several are worked on at once and share PyTorch's threads.

    The layers of a small model are too short for several cores: two images beside each other take less time than one
    after the other. A single thing has all threads to itself.

    Args:
        work: several threads may run it at once.
        things: taken a few before their turn. What comes before an error of theirs is made before it is raised.
        most: things at once; no more than there are threads.
    """
    workers = min(most, torch.get_num_threads())
    if workers <= 1:
        yield from map(work, things)
        return
    errors: list[Exception] = []
    source = _until_error(things, errors)
    first = list(islice(source, 2))
    if len(first) < 2:
        yield from map(work, first)
    else:
        yield from _at_once(work, chain(first, source), workers)
    if errors:
        raise errors[0]


def _until_error(things: Iterable[Thing], errors: list[Exception]) -> Iterator[Thing]:
    try:
        yield from things
    except Exception as error:
        errors.append(error)


def _at_once(work: Callable[[Thing], Made], things: Iterable[Thing], workers: int) -> Iterator[Made]:
    pool = _pool(workers)
    waiting: deque[Future[Made]] = deque()
    try:
        for thing in things:
            waiting.append(pool.submit(work, thing))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(workers: int) -> ThreadPoolExecutor:
    """Workers, each with its share of PyTorch's threads."""
    threads = torch.get_num_threads()
    ready = Barrier(workers + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first question in a thread sets its number, which then stays
        torch.set_num_threads(threads // workers)
        ready.wait()

    pool = ThreadPoolExecutor(workers, initializer=begin)
    for _ in range(workers):  # nobody is idle before all have begun, so each of these starts a worker
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(threads)  # the workers have changed it for threads that others begin, too
    return pool
