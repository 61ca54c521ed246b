"""What a measurement was made on, and how fast that can multiply matrices."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from refersat.memory import give_back

SIDES = {"cpu": 2048, "cuda": 8192, "mps": 4096}
"""Of the square matrices whose product gives the peak."""

PRODUCTS = 8


@dataclass(frozen=True)
class Spread:
    """Repeated measurements, in seconds."""

    median: float
    least: float
    most: float
    count: int

    @classmethod
    def of(cls, seconds: list[float]) -> Spread:
        """Of at least one measurement."""
        return cls(median(seconds), min(seconds), max(seconds), len(seconds))

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def facts(device: str) -> dict[str, Any]:
    """Processor, versions and threads, for JSON."""
    import numpy as np
    import torch
    import transformers

    import refersat

    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "system": platform.platform(),
        "refersat": refersat.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
    }
    if device.startswith("cuda"):
        found |= {"gpu": torch.cuda.get_device_name(device), "cuda": torch.version.cuda}
    return found


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def matmul_peak(device: str, dtype: str) -> float:
    """The most floating-point operations per second that a product of two square matrices reaches here."""
    import torch

    side = SIDES[device.partition(":")[0]]
    left, right = torch.randn(2, side, side, device=device).to(getattr(torch, dtype)).unbind()
    out = torch.empty_like(left)
    seconds = [timed(lambda: torch.matmul(left, right, out=out), device)[0] for _ in range(PRODUCTS + 1)]
    return float(2 * side**3 / min(seconds[1:]))


def timed(work: Callable[[], object], device: str) -> tuple[float, float]:
    """Seconds on the clock, and seconds of the processor."""
    synchronize(device)
    wall, processor = time.perf_counter(), time.process_time()
    work()
    synchronize(device)
    return time.perf_counter() - wall, time.process_time() - processor


def synchronize(device: str) -> None:
    """Wait until the device has done what was asked of it."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device.startswith("mps"):
        torch.mps.synchronize()


def forget_peak_memory() -> None:
    """Have `peak_memory` count from now on, where the system can: on Linux. What was let go of is given back before."""
    peak = Path("/proc/self/clear_refs")
    if peak.exists():
        give_back()
        peak.write_text("5", encoding="ascii")  # see proc(5)


def peak_memory_of(device: str) -> int:
    """Bytes: on a GPU those of the GPU, else those of the process."""
    import torch

    return torch.cuda.max_memory_allocated(device) if device.startswith("cuda") else peak_memory()


def peak_memory() -> int:
    """The most bytes that this process held since it started or was told to forget, mapped files included."""
    status = Path("/proc/self/status")
    if status.is_file():  # unlike getrusage, this knows nothing of the process that started this one
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else most * 1024
