"""Stopping a run on request without losing what it has learned."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from multiprocessing.synchronize import Event
from types import FrameType, TracebackType
from typing import Any


class Stopped(KeyboardInterrupt):
    """A run ended early because it was asked to, after its state was saved."""


class CutShort(Exception):  # noqa: N818 - no error
    """Long work between two steps was left because a stop was asked for; it is done again when the run goes on."""


_LAUNCHED = "TORCHELASTIC_RUN_ID"
"""In the environment of processes that `torchrun` or `accelerate launch` has started."""

_STOPPING = "stopping as soon as this step is done, to save the state"


class StopRequest:
    """Within the `with` block, SIGTERM and the first Ctrl-C only set `made`; a second Ctrl-C acts as ever.

    SIGTERM may come more than once: to the whole group of processes, and again from who passes it on. A launcher of
    several processes passes on Ctrl-C, too, and ends what does not stop by itself: below one, no second one counts.

    Elsewhere than in the main thread Python allows no signal handlers: nothing changes there.

    Args:
        answers: whether who asks is told so, on stderr and at once: a step can take a while.
    """

    def __init__(self, *, answers: bool = False) -> None:
        self.made = False
        self._answers = answers
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._make)
        return self

    def check(self) -> None:
        """Leave long work between two steps where a stop was asked for.

        Raises:
            CutShort: it was.
        """
        if self.made:
            raise CutShort

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in list(self._handlers):
            self._put_back(number)

    def _make(self, number: int, frame: FrameType | None) -> None:
        last = number == signal.SIGINT and _LAUNCHED not in os.environ
        if self._answers and not self.made:
            _answer(_STOPPING + ("; Ctrl-C again stops at once" if last else ""))
        self.made = True
        if last:
            self._put_back(signal.SIGINT)

    def _put_back(self, number: signal.Signals) -> None:
        handler = self._handlers.pop(number)
        signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _answer(line: str) -> None:
    """Write past Python's buffers, which may be in use at this moment; on a terminal in the place of a progress bar."""
    place = "\r\x1b[2K" if os.isatty(2) else ""
    with suppress(OSError):
        os.write(2, f"{place}{line}\n".encode())


def ignore_requests(worker: int, *, over: Event) -> None:
    """For data loading processes: Ctrl-C and SIGTERM reach them too, but they go on until the run is `over`."""

    def end(number: int, frame: FrameType | None) -> None:
        if over.is_set():
            os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
