"""A batch from its beginning to its tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from refersat.batch.job import Job
from refersat.batch.ledger import Ledger
from refersat.batch.local import run_here
from refersat.batch.on_ray import Cluster, require_ray, run_on_ray
from refersat.batch.rows import Catalogue, Unit
from refersat.batch.tables import Summary, write_tables
from refersat.batch.worker import Outcome, Worker
from refersat.errors import UserError
from refersat.output import output_folder

ENGINES = ("local", "ray")

_LONG_ENOUGH = 60.0  # seconds after which no more images are tried

Engine: TypeAlias = Callable[[Job, Sequence[Unit]], Generator[Outcome, None, None]]


@dataclass(frozen=True)
class Mode:
    """How a run treats what is in its folder already.

    Attributes:
        resume: go on with a batch that was stopped.
        overwrite: delete it and begin anew.
        retry_failed: of a batch to go on with, begin the rows that failed again.
    """

    resume: bool = False
    overwrite: bool = False
    retry_failed: bool = False


def make_engine(name: str, cluster: Cluster, say: Callable[[str], None] = lambda line: None) -> Engine:
    """The engine of a name.

    Raises:
        UserError: there is none, it is not installed, or options for another one were given.
    """
    if name not in ENGINES:
        raise UserError(f"--engine is one of {', '.join(ENGINES)}, not {name!r}")
    if name == "local":
        if cluster != Cluster():
            raise UserError("--address, --workers and --gpus-per-worker are for --engine ray")
        return run_here
    require_ray()

    def engine(job: Job, units: Sequence[Unit]) -> Generator[Outcome, None, None]:
        return run_on_ray(job, units, cluster, say)

    return engine


def unwatched(outcomes: Iterator[Outcome], rows: int, before: int) -> None:
    """Shows nothing."""
    for _ in outcomes:
        pass


def run_batch(
    catalogue: Catalogue,
    job: Job,
    engine: Engine,
    *,
    mode: Mode | None = None,
    watch: Callable[[Iterator[Outcome], int, int], None] = unwatched,
) -> Summary:
    """Answer every row that is not done, each once, and write the tables.

    Args:
        catalogue: the rows.
        job: what to do with them.
        engine: from `make_engine`.
        mode: what to do with an older run in the folder; None refuses.
        watch: takes all outcomes and shows them; gets how many rows there are, and how many of them are done or at
            fault already.

    Returns:
        What became of the rows.

    Raises:
        UserError: another run has the folder, it holds another batch, or a worker or the disk refuses.
    """
    mode = mode or Mode()
    job = replace(job, out=job.out.absolute())
    ledger = Ledger(job.out)
    with output_folder(job.out), ledger.locked():
        ledger.begin(job.pins(), resume=mode.resume, overwrite=mode.overwrite)
        ledger.clear_work(attempts=mode.retry_failed)
        ledger.work.mkdir(exist_ok=True)
        units = _left(ledger, catalogue, retry_failed=mode.retry_failed)
        rows = len(catalogue.rows)
        left = sum(len(unit.phrases) for unit in units)
        with closing(engine(job, units) if units else _nothing()) as outcomes:
            watch(outcomes, rows, rows - left)
        summary = write_tables(ledger, catalogue)
        if not summary.pending:
            ledger.clear_work(attempts=True)
    return summary


def _nothing() -> Generator[Outcome, None, None]:
    yield from ()


def _left(ledger: Ledger, catalogue: Catalogue, *, retry_failed: bool) -> list[Unit]:
    """The units that are not done; what is not whole, or failed and shall be tried again, is forgotten."""
    done = ledger.done()
    left = []
    for asked in catalogue.asked():
        unit = asked.unit
        if unit.name in done:
            record = ledger.record(unit.name)
            if record is not None and not (retry_failed and record["error"] is not None):
                continue
            ledger.forget(unit.name)
        left.append(unit)
    return left


@dataclass(frozen=True)
class Estimate:
    """What a batch would take.

    Attributes:
        units, rows: that are left.
        loading: seconds until the model was loaded.
        measured: seconds of each image that was tried.
        phrases: that were asked about them.
        errors: of those that failed.
    """

    units: int
    rows: int
    loading: float
    measured: Sequence[float]
    phrases: int
    errors: Sequence[str]

    def seconds(self, workers: int = 1) -> float | None:
        """How long all may take: by rows, from those that were tried; None if none could be answered."""
        if not self.measured:
            return None
        return self.loading + sum(self.measured) / self.phrases * self.rows / workers


def estimate(catalogue: Catalogue, job: Job, scratch: Path, *, tries: int = 3) -> Estimate:
    """Answer a few images, spread over those that are left, in this process and without keeping anything.

    The first is tried twice, as models are slow once.

    Args:
        catalogue: the rows.
        job: what to do with them.
        scratch: a folder for what is written and thrown away.
        tries: how many images.

    Raises:
        UserError: the model cannot be loaded.
    """
    done = Ledger(job.out.absolute()).done()
    units = [asked.unit for asked in catalogue.asked() if asked.unit.name not in done]
    chosen = [units[round(k * (len(units) - 1) / max(1, tries - 1))] for k in range(min(tries, len(units)))]
    began = time.perf_counter()
    Ledger(scratch).work.mkdir()
    worker = Worker(replace(job, out=scratch, weights={}))
    loading = time.perf_counter() - began
    measured, phrases, errors = [], 0, []
    for number, unit in enumerate([*chosen[:1], *chosen]):
        if number > 1 and time.perf_counter() - began > _LONG_ENOUGH:
            break
        place = scratch / str(number)
        place.mkdir()
        error, seconds = worker.measure(unit, place)
        if number == 0:
            continue
        if error is None:
            measured.append(seconds)
            phrases += len(unit.phrases)
        else:
            errors.append(error)
    rows = sum(len(unit.phrases) for unit in units)
    return Estimate(len(units), rows, loading, measured, phrases, errors)
