"""The batches of a run, made in the background by processes of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from refersat.errors import UserError
from refersat.training.batch import AnyBatch, shares
from refersat.training.interruption import ignore_requests
from refersat.training.schedule import Schedule

_AHEAD = 4
"""Steps that each loading process makes ahead of their use."""


class Sampler(Protocol):
    """Makes the batch of any step, without knowing the ones before."""

    def batches(self, step: int, schedule: Schedule, parts: Sequence[range]) -> list[AnyBatch]:
        """Parts of the batch of a step (from 0), by the numbers of their views."""


@dataclass(frozen=True)
class Share:
    """What one process has to do: of every batch its share, in `parts` of equal size one after the other."""

    rank: int
    processes: int
    parts: int = 1


def stream(
    sampler: Sampler, schedule: Schedule, share: Share, *, steps: range, workers: int = 1
) -> Iterator[tuple[AnyBatch, ...]]:
    """One process's share of the batch of each of the steps.

    Raises:
        UserError: what the sampler could not read.
    """
    over = multiprocessing.Event()
    loader = DataLoader(
        _Steps(sampler, schedule, share, steps),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=_AHEAD,
        worker_init_fn=partial(ignore_requests, over=over),
        generator=torch.Generator(),  # the process's own is part of a run's state, which a resumed run must not disturb
    )
    try:
        yield from loader
    except UserError as error:  # the worker's trace comes in the message
        raise UserError(str(error).rpartition(f"{UserError.__name__}: ")[2].rstrip()) from None
    finally:
        over.set()


class _Steps(IterableDataset[tuple[AnyBatch, ...]]):
    def __init__(self, sampler: Sampler, schedule: Schedule, share: Share, steps: range) -> None:
        self._sampler = sampler
        self._schedule = schedule
        self._share = share
        self._steps = steps

    def __iter__(self) -> Iterator[tuple[AnyBatch, ...]]:
        # The loader takes from its workers in turn: every one makes each so-manieth step.
        worker = get_worker_info()
        first, every = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        share = self._share
        for step in self._steps[first::every]:
            size = self._schedule.stage_at(step).batch_size
            parts = shares(size, rank=share.rank, processes=share.processes, parts=share.parts)
            yield tuple(self._sampler.batches(step, self._schedule, parts))
