"""Several processes on this machine, each with a model of its own: `refersat evaluate --workers N`."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat.errors import UserError
from refersat.threads import limit_threads

if TYPE_CHECKING:
    from refersat.evaluation.request import Request


def run_workers(
    request: Request,
    unit_numbers: Sequence[int],
    *,
    workers: int,
    out: Path,
    pins: dict[str, Any],
    on_unit: Callable[[int], None],
) -> None:
    """Have the units of these numbers answered by `workers` processes; see `Request.work`.

    Raises:
        UserError: what one of them raised.
        RuntimeError: one of them failed or was killed.
    """
    import torch

    # A new interpreter each: a copy of this one would hang as soon as PyTorch's threads are in use.
    context = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // workers)
    processes, open_ends = [], []
    try:
        for number in range(workers):
            ours, theirs = context.Pipe(duplex=False)
            share = list(unit_numbers[number::workers])
            arguments = (request, share, number, threads, out, pins, theirs)
            process = context.Process(target=_serve, args=arguments, daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
            open_ends.append(ours)
        _listen(open_ends, on_unit)
        for number, process in enumerate(processes):
            process.join()
            if process.exitcode:
                raise RuntimeError(f"worker {number} ended with code {process.exitcode}: out of memory?")
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _listen(open_ends: list[Connection], on_unit: Callable[[int], None]) -> None:
    """Until all workers have closed their ends; a worker sends how many samples it did, or why it gave up."""
    open_ends = list(open_ends)
    while open_ends:
        for end in wait(open_ends):
            assert isinstance(end, Connection)
            try:
                message = end.recv()
            except EOFError:
                open_ends.remove(end)
                continue
            if isinstance(message, Exception):
                raise message
            on_unit(message)


def _serve(
    request: Request,
    unit_numbers: list[int],
    process: int,
    threads: int,
    out: Path,
    pins: dict[str, Any],
    results: Connection,
) -> None:
    """The life of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches it too, but the main process says when it ends
    threading.Thread(target=_end_with_parent, daemon=True).start()
    limit_threads(threads)
    try:
        segmenter = request.segmenter(place=process)
        units = request.units(request.questions(), segmenter)
        chosen = [units[number] for number in unit_numbers]
        request.work(segmenter, chosen, out=out, process=process, pins=pins, on_unit=results.send)
    except UserError as error:
        results.send(error)
    except Exception:
        results.send(RuntimeError(f"worker {process} failed: {traceback.format_exc()}"))


def _end_with_parent() -> None:
    """A killed main process must not leave workers behind that go on writing."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
