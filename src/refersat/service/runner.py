"""Jobs, one after another in a thread: scenes that take longer than anybody waits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import rasterio
import rasterio.windows

from refersat.errors import UserError
from refersat.rasters import unplaced_is_fine
from refersat.scene.options import SceneOptions
from refersat.scene.outputs import Found
from refersat.scene.scene import Scene
from refersat.scene.strategy import Advance
from refersat.service.areas import limit_reader
from refersat.service.catalog import Catalog, require_file
from refersat.service.display import Display, without_path
from refersat.service.grids import box_in_degrees
from refersat.service.metrics import Metrics
from refersat.service.problems import Problem
from refersat.service.records import AnswerRecord, ResultRecord
from refersat.service.results import Results
from refersat.service.settings import Limits
from refersat.service.shared import SharedModel
from refersat.service.store import Job, Store, now
from refersat.service.worker import ModelWorker

if TYPE_CHECKING:
    from refersat.segmenter import Segmenter

MAX_STARTS = 3
"""A job during which the server was stopped so often may be what stops it."""

_LOOKING = 90  # percent that the first of the two stages takes
_NOTED_EVERY = 0.5  # seconds
_IDLE = 1.0  # seconds between looks into the store
_ROWS = 1024

log = logging.getLogger(__name__)


class _EndedError(Exception):
    """The job was dismissed, or the server is being stopped."""


class _TooLongError(Exception):
    """The job has no time left."""


class Runner:
    """Takes waiting jobs from the store, the tenants in turn, and leaves results.

    Args:
        store: of jobs.
        catalog: of scenes.
        results: where results go.
        worker: who answers.
        display: knows where scenes lie.
        limits: bounds.
        metrics: told of what happens.
    """

    def __init__(
        self,
        *,
        store: Store,
        catalog: Catalog,
        results: Results,
        worker: ModelWorker,
        display: Display,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._results = results
        self._worker = worker
        self._display = display
        self._limits = limits
        self._metrics = metrics
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._dismissed: set[str] = set()
        self._last_tenant = ""
        self._thread = threading.Thread(target=self._run, name="refersat-jobs", daemon=True)

    def start(self) -> None:
        """Let what ran when the server was stopped wait again, and begin."""
        waiting = self._store.wait_again()
        if waiting:
            log.warning("%d jobs go on after a restart", waiting)
        self._thread.start()

    def stop(self) -> None:
        """Let go of the job that runs; it goes on after a restart."""
        self._stopping.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout=60)

    def wake(self) -> None:
        """There is a new job."""
        self._wake.set()

    def dismiss(self, job: Job) -> None:
        """Cancel a job, or delete the result of an ended one."""
        self._dismissed.add(job.id)
        if not self._store.end_job(job.id, "dismissed", "was cancelled"):
            self._store.forget_result(job.id)
        if job.status != "running":  # else the thread that writes there cleans up
            self._results.drop(job.id)

    def _run(self) -> None:
        while not self._stopping.is_set():
            job = self._next()
            if job is None:
                self._wake.wait(_IDLE)
                self._wake.clear()
            elif self._store.begin_job(job.id):
                self._do(job)

    def _next(self) -> Job | None:
        """The oldest job of the tenant whose turn it is."""
        oldest: dict[str, Job] = {}
        for job in self._store.jobs(status=("accepted",), newest_first=False):
            oldest.setdefault(job.tenant, job)
        if not oldest:
            return None
        later = [tenant for tenant in sorted(oldest) if tenant > self._last_tenant]
        self._last_tenant = later[0] if later else min(oldest)
        return oldest[self._last_tenant]

    def _do(self, job: Job) -> None:
        folder = self._results.folder_of(job.id)
        try:
            if job.starts >= MAX_STARTS:
                raise UserError(f"the server was stopped {job.starts} times while it ran")
            record = self._segment(job, folder)
            record.save(folder)
            found = sum(answer.objects for answer in record.answers)
            self._store.end_job(job.id, "successful", f"found {found} objects" if found else "nothing found")
        except (_EndedError, CancelledError):
            if self._stopping.is_set() and job.id not in self._dismissed:
                return  # it stays "running" in the store, and goes on after a restart
        except _TooLongError:
            self._store.end_job(job.id, "failed", f"took longer than {self._limits.job_hours:g} hours")
        except (UserError, Problem) as error:
            words = str(getattr(error, "detail", error))
            if job.starts:
                words = f"did not go on after a restart of the server: {words}; ask again"
            self._store.end_job(job.id, "failed", words)
        except Exception:
            log.exception("job %s failed", job.id)
            self._store.end_job(job.id, "failed", "the server failed at this; its log says why")
        ended = self._store.job(job.id)
        if ended is None or ended.status != "successful":
            self._results.drop(job.id)
        self._dismissed.discard(job.id)

    def _segment(self, job: Job, folder: Path) -> ResultRecord:
        inputs = job.inputs
        entry = self._catalog.find(inputs["scene"], job.tenant)
        require_file(entry)
        facts = self._display.facts(entry)
        deadline = time.monotonic() + self._limits.job_hours * 3600
        began = time.monotonic()

        def check() -> None:
            if self._stopping.is_set() or job.id in self._dismissed:
                raise _EndedError
            if time.monotonic() > deadline:
                raise _TooLongError

        messages: list[str] = []
        options = SceneOptions(
            **{name: inputs[name] for name in ("strategy", "tile", "overlap", "gsd", "threshold", "min_area")},
            probability=True,
        )
        try:
            with Scene(entry.address, name=entry.name, drivers=entry.drivers) as scene:
                if inputs["area"] is not None:
                    limit_reader(scene.reader, inputs["area"], in_degrees=facts.bounds is not None)
                found = scene.segment(
                    inputs["phrases"],
                    folder,
                    segmenter=cast("Segmenter", SharedModel(self._worker, check)),
                    options=options,
                    resume=True,
                    watch=_Progress(self._store, job.id, check).watch,
                    say=messages.append,
                )
                ground, reader = scene.reader.ground, scene.reader
        except UserError as error:
            raise UserError(without_path(str(error), entry).replace(str(folder), "its folder")) from error
        self._metrics.questions.labels("job").inc(len(found))
        answers = []
        for one in found:
            box = _box(one.mask) if one.objects else None
            bounds = box_in_degrees(box, ground) if box is not None and facts.bounds is not None else box
            answers.append(_answer(one, bounds))
        found[0].vectors.replace(folder / "polygons.gpkg")
        return ResultRecord(
            id=job.id,
            tenant=job.tenant,
            scene=entry.id,
            name=entry.name,
            stem=entry.stem,
            kind="map" if facts.bounds else "picture",
            model=self._worker.segmenter.name,
            threshold=self._worker.segmenter.threshold if options.threshold is None else options.threshold,
            width=reader.width,
            height=reader.height,
            crs_wkt=reader.crs_wkt,
            transform=tuple(reader.transform)[:6] if reader.placed else None,
            seconds=round(time.monotonic() - began, 3),
            bounds=facts.bounds,
            area=inputs["area"],
            min_area=options.min_area,
            created=now(),
            messages=messages,
            answers=answers,
        )


class _Progress:
    """Notes how far a job is, not too often."""

    def __init__(self, store: Store, identifier: str, check: Callable[[], None]) -> None:
        self._store = store
        self._identifier = identifier
        self._check = check
        self._noted = 0.0
        self._stage = 0

    @contextmanager
    def watch(self, title: str, steps: int) -> Iterator[Advance]:
        """See `refersat.scene.scene.Watch`."""
        first, last = (0, _LOOKING) if self._stage == 0 else (_LOOKING, 99)
        self._stage += 1
        done = 0

        def advance(pixels: float) -> None:
            nonlocal done
            self._check()
            done += 1
            percent = first + (last - first) * min(done, steps) // max(steps, 1)
            self._note(percent, f"{title.lower()}: {min(done, steps)} of {steps}")

        self._note(first, f"{title.lower()}: 0 of {steps}", at_once=True)
        yield advance

    def _note(self, percent: int, message: str, *, at_once: bool = False) -> None:
        if at_once or time.monotonic() - self._noted > _NOTED_EVERY:
            self._noted = time.monotonic()
            self._store.note_progress(self._identifier, percent, message)


def _answer(found: Found, bounds: tuple[float, float, float, float] | None) -> AnswerRecord:
    assert found.probability is not None
    metres = found.area_m2 is not None
    return AnswerRecord(
        phrase=found.phrase,
        found=found.objects > 0,
        score=round(found.score, 6),
        objects=found.objects,
        area=round(found.area_m2, 3) if found.area_m2 is not None else float(found.pixels),
        area_unit="m2" if metres else "px",
        pixels=found.pixels,
        bounds=bounds,
        mask=found.mask.name,
        probability=found.probability.name,
    )


def _box(mask: Path) -> tuple[float, float, float, float] | None:
    """(x0, y0, x1, y1) in pixels around what a mask shows."""
    rows: list[int] = []
    with unplaced_is_fine(), rasterio.open(mask) as dataset:
        columns = np.zeros(dataset.width, np.bool_)
        for row in range(0, dataset.height, _ROWS):
            window = rasterio.windows.Window(0, row, dataset.width, min(_ROWS, dataset.height - row))
            shown: Any = (dataset.read(1, window=window) > 0) & (dataset.read_masks(1, window=window) > 0)
            columns |= shown.any(axis=0)
            rows += [row + int(index) for index in np.flatnonzero(shown.any(axis=1))[[0, -1]]] if shown.any() else []
    if not rows:
        return None
    across = np.flatnonzero(columns)
    return float(across[0]), float(rows[0]), float(across[-1] + 1), float(rows[-1] + 1)
