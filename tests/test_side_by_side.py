"""Several at once, and nobody can tell from the results."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.models.torch_threads import sharing_pool
from refersat.side_by_side import side_by_side

pytestmark = pytest.mark.usefixtures("three_threads")


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 0.003), max_size=12), st.integers(1, 5))
def test_results_come_in_order(delays: list[float], workers: int) -> None:
    def work(numbered: tuple[int, float]) -> int:
        time.sleep(numbered[1])
        return numbered[0]

    assert list(side_by_side(work, enumerate(delays), workers=workers)) == list(range(len(delays)))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_as_many_at_once_as_there_are_workers(workers: int) -> None:
    running, seen, lock = 0, [], threading.Lock()

    def work(_: int) -> None:
        nonlocal running
        with lock:
            running += 1
            seen.append(running)
        time.sleep(0.02)
        with lock:
            running -= 1

    list(side_by_side(work, range(12), workers=workers))
    assert max(seen) == workers


def test_threads_are_shared_and_as_before_afterwards() -> None:
    def threads(_: int) -> int:
        time.sleep(0.01)
        return torch.get_num_threads()

    assert list(side_by_side(threads, range(6), workers=2, pool=sharing_pool)) == [1] * 6
    assert list(side_by_side(threads, range(1), workers=2, pool=sharing_pool)) == [3]
    assert torch.get_num_threads() == 3
    others: list[int] = []
    beside = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
    beside.start()
    beside.join()
    assert others == [3]


def test_no_more_is_taken_than_is_soon_needed() -> None:
    taken = []

    def things() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    results = side_by_side(lambda number: number, things(), workers=3)
    for expected in range(10):
        assert next(results) == expected
        assert len(taken) <= expected + 5
    results.close()  # type: ignore[attr-defined]
    assert len(taken) < 20


@pytest.mark.parametrize("good", [0, 1, 2, 7])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_comes_before_a_mistake_is_still_made(good: int, workers: int) -> None:
    def things() -> Iterator[int]:
        yield from range(good)
        raise ValueError("a bad file")

    results = side_by_side(lambda number: number, things(), workers=workers)
    assert [next(results) for _ in range(good)] == list(range(good))
    with pytest.raises(ValueError, match="a bad file"):
        next(results)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_the_work_comes_in_its_turn(workers: int) -> None:
    results = side_by_side(lambda number: 6 // (3 - number), range(9), workers=workers)
    assert [next(results) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)
