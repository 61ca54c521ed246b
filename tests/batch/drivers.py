"""Runs in processes of their own, and what they have done so far."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

Start = Callable[..., "subprocess.Popen[str]"]

_ROOT = Path(__file__).parents[2]
ENVIRONMENT = {"PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path]), "OMP_NUM_THREADS": "1"}
"""In which processes find the stand-in, and do not compete with each other."""


def finished(out: Path) -> int:
    """How many images of a batch are done."""
    return len(list(out.glob("rows/*/*/record.json")))


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[str] | None = None, seconds: float = 400) -> None:
    """Wait for something, and fail where it cannot come any more."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, "it took too long"
        assert process is None or process.poll() is None, "the run ended too early"
        time.sleep(0.05)
