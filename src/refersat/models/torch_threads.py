"""Threads of Python that share PyTorch's."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import torch


def sharing_pool(workers: int) -> ThreadPoolExecutor:
    """Workers, each with its share of PyTorch's threads."""
    threads = torch.get_num_threads()
    ready = Barrier(workers + 1)

    def begin() -> None:
        torch.get_num_threads()  # the first question in a thread sets its number, which then stays
        torch.set_num_threads(threads // workers)
        ready.wait()

    pool = ThreadPoolExecutor(workers, initializer=begin)
    for _ in range(workers):  # nobody is idle before all have begun, so each of these starts a worker
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(threads)  # the workers have changed it for threads that others begin, too
    return pool
