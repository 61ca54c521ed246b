"""Stopping a run on request without losing what it has learned."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing.synchronize import Event
from types import FrameType, TracebackType
from typing import Any


class Stopped(KeyboardInterrupt):
    """A run ended early because it was asked to, after its state was saved."""


class StopRequest:
    """Within the `with` block, the first Ctrl-C or SIGTERM only sets `made`; a second one acts as ever.

    Elsewhere than in the main thread Python allows no signal handlers: nothing changes there.
    """

    def __init__(self) -> None:
        self.made = False
        self._handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._handlers[number] = signal.signal(number, self._make)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()

    def _make(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        self._put_back()

    def _put_back(self) -> None:
        while self._handlers:
            number, handler = self._handlers.popitem()
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def ignore_requests(worker: int, *, over: Event) -> None:
    """For data loading processes: Ctrl-C and SIGTERM reach them too, but they go on until the run is `over`."""

    def end(number: int, frame: FrameType | None) -> None:
        if over.is_set():
            os._exit(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, end)
