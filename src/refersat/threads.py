"""How many threads a process computes with on a CPU."""

from __future__ import annotations

import os

_VARIABLE = "OMP_NUM_THREADS"


def usable_threads() -> int:
    """What OMP_NUM_THREADS says, which PyTorch heeds as well, else one for each core that this process may use."""
    wanted = os.environ.get(_VARIABLE, "").partition(",")[0].strip()
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """So many from now on, for PyTorch and for exported models that are opened later."""
    import torch

    torch.set_num_threads(count)
    os.environ[_VARIABLE] = str(count)
