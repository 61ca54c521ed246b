"""The stream of batches: every view of every step once, whoever makes it and whoever takes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch

from refersat.errors import UserError
from refersat.training.batch import Batch, shares
from refersat.training.recipe import OptimizerOptions, Stage
from refersat.training.schedule import Schedule
from refersat.training.stream import Share, stream

STEPS = 7
SCHEDULE = Schedule(
    (Stage(steps=4, image_size=32, batch_size=8), Stage(steps=3, image_size=64, batch_size=4)),
    OptimizerOptions(),
    dropped=0,
    validate_every=1,
    save_every=1,
    samples=None,
)


class Counting:
    """Batches whose `present` holds step * 100 + number of the view."""

    def __init__(self, broken: int | None = None) -> None:
        self.broken = broken

    def batches(self, step: int, schedule: Schedule, parts: Sequence[range]) -> list[Batch]:
        if step == self.broken:
            raise UserError("cannot read 7.png: it is gone")
        empty = torch.zeros(0)
        return [
            Batch(empty, empty, empty, empty, empty, torch.tensor([step * 100.0 + place for place in part]))
            for part in parts
        ]


def seen_by(share: Share, *, start: int = 0, workers: int = 1) -> list[list[list[int]]]:
    made = stream(Counting(), SCHEDULE, share, steps=range(start, STEPS), workers=workers)
    return [[[int(value) for value in batch.present] for batch in step] for step in made]


@pytest.mark.parametrize("workers", [1, 2])
def test_steps_come_in_their_order(workers: int) -> None:
    steps = seen_by(Share(0, 1), start=2, workers=workers)
    assert [step[0][0] // 100 for step in steps] == [2, 3, 4, 5, 6]
    assert [len(step[0]) for step in steps] == [8, 8, 4, 4, 4]


def test_the_generator_of_the_process_is_left_alone() -> None:
    before = torch.get_rng_state()
    seen_by(Share(0, 1), start=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_and_parts_share_every_batch() -> None:
    taken = [seen_by(Share(rank, 2, parts=2)) for rank in range(2)]
    for step in range(STEPS):
        size = 8 if step < 4 else 4
        views = [view for rank in range(2) for part in taken[rank][step] for view in part]
        assert sorted(views) == [step * 100 + place for place in range(size)]
        assert all(len(part) == size // 4 for rank in range(2) for part in taken[rank][step])


@pytest.mark.parametrize(("processes", "parts"), [(1, 1), (2, 1), (1, 4), (2, 2), (4, 3)])
def test_what_is_worked_on_together_lies_side_by_side(processes: int, parts: int) -> None:
    size = 24
    chosen = [shares(size, rank=rank, processes=processes, parts=parts) for rank in range(processes)]
    for part in range(parts):
        together = [view for rank in range(processes) for view in chosen[rank][part]]
        assert together == list(range(part * size // parts, (part + 1) * size // parts))


def test_a_mistake_in_the_data_is_one_line() -> None:
    made = stream(Counting(broken=1), SCHEDULE, Share(0, 1), steps=range(STEPS))
    next(made)
    with pytest.raises(UserError, match=r"^cannot read 7\.png: it is gone$"):
        next(made)


def test_a_batch_says_what_it_is(make_batch: Callable[..., Batch]) -> None:
    batch = make_batch(views=("a.png", "b.png"), phrases=("a ship", "a tank", "the left ship", "all tanks"))
    assert batch.told() == ["a.png: a ship", "a.png: a tank", "b.png: the left ship", "b.png: all tanks"]
    assert make_batch(views=("a.png", "b.png"), phrases=()).told() == ["a.png", "b.png"]


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    return lambda **told: Batch(*[torch.zeros(0)] * 6, **told)
