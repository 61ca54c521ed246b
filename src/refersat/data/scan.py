"""Going through a data set image by image: each file is opened once, in order, by as many processes as wanted."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from refersat.data.samples import Sample
from refersat.errors import UserError

CHUNK = 8  # images that a process gets at once
CHUNKS_AHEAD = 4  # for each process: enough to keep it busy, and few enough to keep memory bounded
FEW_IMAGES = 200  # starting processes takes longer than reading so few
MOST_PROCESSES = 8  # by default: reading is then bound by the disk

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class ImageGroup:
    """An image and all samples that ask about it."""

    image: Path
    samples: tuple[Sample, ...]


def group_by_image(samples: Iterable[Sample]) -> list[ImageGroup]:
    """The images in the order in which they are first met."""
    groups: dict[Path, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.image, []).append(sample)
    return [ImageGroup(image, tuple(members)) for image, members in groups.items()]


def scan(
    work: Callable[[ImageGroup], Answer], groups: Sequence[ImageGroup], *, workers: int | None = None
) -> Iterator[Answer]:
    """`work` of every group, in the order of the groups, however many processes do it.

    Args:
        work: a function of a module, so that it can be sent to another process; so can what it returns.
        groups: the images.
        workers: processes; 1 works in this one, None decides by the number of images and of processors.

    Raises:
        UserError: fewer than one worker, or what `work` raises.
    """
    if workers is not None and workers < 1:
        raise UserError(f"the number of workers must be at least 1, not {workers}")
    count = workers or (1 if len(groups) < FEW_IMAGES else min(_processors(), MOST_PROCESSES))
    if count == 1:
        yield from map(work, groups)
        return
    # Spawned, not forked: a fork would copy the locks of the progress bar's thread and of GDAL.
    pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_start)
    try:
        waiting: deque[Future[list[Answer]]] = deque()
        rest = iter(groups)
        while chunk := tuple(islice(rest, CHUNK)):
            waiting.append(pool.submit(_work_on, work, chunk))
            if len(waiting) > CHUNKS_AHEAD * count:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _work_on(work: Callable[[ImageGroup], Answer], groups: Sequence[ImageGroup]) -> list[Answer]:
    return [work(group) for group in groups]


def _start() -> None:
    """Leave Ctrl-C to the process that asked, and the other processors to the other workers."""
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _processors() -> int:
    """Those that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
