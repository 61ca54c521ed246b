"""The engine that needs nothing else: this process, with the next images read while the model works."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace

from refersat.batch.job import Job
from refersat.batch.rows import Unit
from refersat.batch.worker import Outcome, Worker


def run_here(job: Job, units: Sequence[Unit]) -> Generator[Outcome, None, None]:
    """Answer units one after the other.

    Raises:
        UserError: see `Worker`.
    """
    here = replace(job, weights={})  # this process took their digests itself
    yield from Worker(here).run(units)
