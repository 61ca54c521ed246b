"""`refersat bench model`: the fast form of a model against the plain one, in one run on one machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from refersat.benchmark.alone import run_alone
from refersat.benchmark.case import Config, count_operations
from refersat.benchmark.machine import facts, matmul_peak
from refersat.benchmark.worker import Request


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        config: which model.
        device: for example cpu or cuda.
        dtype: number format of the fast form; the plain one is always in float32.
        int8: whether the fast form keeps the weights of linear layers in 8 bits.
        batch: pairs of image and phrase that run together.
        repeats: forward passes of each form that are measured.
        compiled: let PyTorch compile the blocks of the fast form.
    """

    config: Config
    device: str
    dtype: Literal["float32", "bfloat16"]
    int8: bool
    batch: int
    repeats: int
    compiled: bool


def bench_model(options: Options, report: Callable[[str], None]) -> dict[str, Any]:
    """Measure both forms, one after the other; the result is for JSON. `report` is told what runs."""
    machine = facts(options.device)
    report("counting operations")
    operations = count_operations(options.config, options.batch)
    report("matrix products alone")
    peaks = {dtype: matmul_peak(options.device, dtype) for dtype in ("float32", "bfloat16")}
    with tempfile.TemporaryDirectory() as folder:
        report("plain form")
        plain, plain_logits = _run(options, Path(folder), fast=False)
        report("fast form")
        fast, fast_logits = _run(options, Path(folder), fast=True)
    plain_seconds, fast_seconds = plain["seconds"]["median"], fast["seconds"]["median"]
    return {
        "config": options.config,
        "device": options.device,
        "batch": options.batch,
        "dtype": options.dtype,
        "int8": options.int8,
        "compiled": options.compiled,
        "plain_seconds": plain_seconds,
        "fast_seconds": fast_seconds,
        "ratio": fast_seconds / plain_seconds,
        "processor_ratio": fast["processor_seconds"] / plain["processor_seconds"],
        "peak_memory_ratio": fast["peak_memory"] / plain["peak_memory"],
        **_sameness(plain, plain_logits, fast_logits),
        "images_per_second": options.batch / fast_seconds,
        "operations": operations,
        "matmul_peak": peaks,
        "plain_share_of_peak": operations / plain_seconds / peaks["float32"],
        "fast_share_of_peak": operations / fast_seconds / peaks[options.dtype],
        "plain": plain,
        "fast": fast,
        "machine": machine,
    }


def _run(options: Options, folder: Path, *, fast: bool) -> tuple[dict[str, Any], Any]:
    import numpy as np

    request = Request(
        config=options.config,
        fast=fast,
        device=options.device,
        dtype=options.dtype if fast else "float32",
        int8=fast and options.int8,
        batch=options.batch,
        repeats=options.repeats,
        compiled=fast and options.compiled,
        logits=str(folder / f"{'fast' if fast else 'plain'}.npy"),
    )
    measured = run_alone("refersat.benchmark.worker", request.to_json(), f"the {'fast' if fast else 'plain'} form")
    return measured, np.load(request.logits)


def _sameness(facts_of_plain: dict[str, Any], plain: Any, fast: Any) -> dict[str, float]:
    """How alike the masks and probabilities of both forms are."""
    import numpy as np

    threshold = facts_of_plain["mask_threshold"]
    # Masks that are empty or full would agree in any case. At the median, as many pixels as possible are in doubt.
    middle = float(np.median(plain))

    def probability(logits: Any) -> Any:
        return 1 / (1 + np.exp(-(2 * logits - 1 if facts_of_plain["two_class_logit"] else logits)))

    return {
        "pixels_equal": float(((plain > threshold) == (fast > threshold)).mean()),
        "pixels_equal_at_median": float(((plain > middle) == (fast > middle)).mean()),
        "mean_probability_difference": float(np.abs(probability(plain) - probability(fast)).mean()),
        "foreground": float((plain > threshold).mean()),
        "logit_spread": float(plain.std()),
    }
