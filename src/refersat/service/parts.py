"""What a running server is made of."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi import Request
from filelock import FileLock, Timeout

from refersat.errors import UserError
from refersat.output import output_folder
from refersat.service.catalog import Catalog
from refersat.service.display import Display
from refersat.service.metrics import Metrics
from refersat.service.problems import Problem
from refersat.service.results import Results
from refersat.service.runner import Runner
from refersat.service.settings import Settings
from refersat.service.store import Store
from refersat.service.worker import ModelWorker

if TYPE_CHECKING:
    from refersat.segmenter import Segmenter

_SWEEP = 600.0  # seconds between two looks for what is too old
_MEASURE = 10.0  # seconds for which the size of the disk's share is believed

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Service:
    """The parts; `start` and `stop` them together.

    Raises:
        UserError: when made: the data folder cannot be used, or another server uses it.
    """

    settings: Settings
    segmenter: Segmenter
    metrics: Metrics
    store: Store
    catalog: Catalog
    display: Display
    results: Results
    worker: ModelWorker
    runner: Runner
    disk: Disk
    _lock: FileLock
    _ended: threading.Event

    @classmethod
    def make(cls, settings: Settings, segmenter: Segmenter) -> Service:
        """Put the parts together; nothing runs yet."""
        with output_folder(settings.data):
            lock = FileLock(settings.data / "lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                raise UserError(f"another server uses {settings.data}: give this one its own --data") from None
            try:
                metrics, display, limits = Metrics(), Display(), settings.limits
                store = Store(settings.data / "service.sqlite")
                catalog = Catalog(settings, store)
                results = Results(settings.data / "results")
                worker = ModelWorker(segmenter, limits, metrics)
                metrics.watch_jobs(store.counts)
                runner = Runner(
                    store=store,
                    catalog=catalog,
                    results=results,
                    worker=worker,
                    display=display,
                    limits=limits,
                    metrics=metrics,
                )
                disk = Disk(settings.data, limits.disk_bytes)
            except BaseException:
                lock.release()
                raise
        ended = threading.Event()
        return cls(settings, segmenter, metrics, store, catalog, display, results, worker, runner, disk, lock, ended)

    def start(self) -> None:
        """Begin to answer, and go on with what was interrupted."""
        self.worker.start()
        self.runner.start()
        threading.Thread(target=self._sweep, name="refersat-sweep", daemon=True).start()

    def stop(self) -> None:
        """Let go; jobs that run go on after the next start."""
        self._ended.set()
        self.runner.stop()
        self.worker.stop()
        self.store.close()
        self._lock.release()

    def sweep(self) -> None:
        """Delete what is older than `Limits.keep_days`."""
        days = self.settings.limits.keep_days
        for identifier in self.store.drop_ended_jobs(days):
            self.results.drop(identifier)
        waiting = self.store.jobs(status=("accepted", "running"))
        self.results.drop_old(days, keep=[job.id for job in waiting])
        self.catalog.drop_old(keep=[str(job.inputs["scene"]) for job in waiting])

    def _sweep(self) -> None:
        while not self._ended.is_set():
            try:
                self.sweep()
            except Exception:
                log.exception("deleting what is too old failed")
            self._ended.wait(_SWEEP)


class Disk:
    """The share of the disk that users may fill.

    Args:
        folder: where all of it is.
        bound: bytes.
    """

    def __init__(self, folder: Path, bound: int) -> None:
        self._folder = folder
        self._bound = bound
        self._used = 0
        self._measured = -_MEASURE

    def require_room(self) -> None:
        """Refuse to keep more.

        Raises:
            Problem: 507, it is full.
        """
        if time.monotonic() - self._measured > _MEASURE:
            self._used = sum(_size(path) for path in self._folder.rglob("*"))
            self._measured = time.monotonic()
        if self._used > self._bound:
            raise Problem(507, "the server's disk share is full: delete uploads and results, or ask its operator")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # deleted meanwhile
        return 0


def service_of(request: Request) -> Service:
    """The parts of the server that answers a request."""
    service = request.app.state.service
    assert isinstance(service, Service)
    return service
