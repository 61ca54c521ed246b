"""`refersat bench train`: steps of training as the loop takes them against plain ones, in one run on one machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from refersat.benchmark.alone import run_alone
from refersat.benchmark.case import Config
from refersat.benchmark.machine import facts, matmul_peak
from refersat.benchmark.training_case import make_setup, stage_of
from refersat.benchmark.training_worker import Request
from refersat.training.dry_run import cost_of
from refersat.training.initialise import empty_model


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        config: which model.
        device: cpu, cuda or mps.
        batch: views of a step; None: as the recipe says.
        steps: of each form that are measured.
        precision: float32 or bfloat16, of both forms.
        compiled: let PyTorch compile layers of the fast form.
        checkpointing: of activations, in both forms.
    """

    config: Config
    device: str
    batch: int | None
    steps: int
    precision: str
    compiled: bool
    checkpointing: bool


def bench_train(options: Options, report: Callable[[str], None]) -> dict[str, Any]:
    """Measure both forms, one after the other; the result is for JSON. `report` is told what runs."""
    machine = facts(options.device)
    # What runs a second time because of checkpointing, or is compiled, is no more to be done.
    setup = make_setup(
        options.config, batch=options.batch, precision=options.precision, compiled=False, checkpointing=False
    )
    stage = stage_of(setup)
    report("counting operations")
    with torch.device("meta"):
        trainee = setup.task.trainee(empty_model(setup.start.config), setup)
    setup.task.freeze(trainee.model, setup.recipe.parts, setup.loss)
    operations = cost_of(trainee, setup, stage, processes=1).operations
    report("matrix products alone")
    peak = matmul_peak(options.device, options.precision)
    report("plain form")
    plain = _run(options, fast=False)
    report("fast form")
    fast = _run(options, fast=True)
    plain_seconds, fast_seconds = plain["seconds"]["median"], fast["seconds"]["median"]
    samples = stage.batch_size * stage.phrases_per_view
    return {
        "config": options.config,
        "device": options.device,
        "precision": options.precision,
        "compiled": options.compiled,
        "checkpointing": options.checkpointing,
        "image_size": stage.image_size,
        "batch": stage.batch_size,
        "phrases_per_view": stage.phrases_per_view,
        "plain_seconds": plain_seconds,
        "fast_seconds": fast_seconds,
        "ratio": fast_seconds / plain_seconds,
        "processor_ratio": fast["processor_seconds"] / plain["processor_seconds"],
        "peak_memory_ratio": fast["peak_memory"] / plain["peak_memory"],
        "loss_difference": loss_difference(plain["losses"], fast["losses"]),
        "plain_samples_per_second": samples / plain_seconds,
        "samples_per_second": samples / fast_seconds,
        "operations": operations,
        "matmul_peak": peak,
        "plain_share_of_peak": operations / plain_seconds / peak,
        "fast_share_of_peak": operations / fast_seconds / peak,
        "plain": plain,
        "fast": fast,
        "machine": machine,
    }


def loss_difference(plain: list[float], fast: list[float]) -> float:
    """The largest relative difference of the losses of a step."""
    return max(abs(one - other) / abs(one) for one, other in zip(plain, fast, strict=True))


def _run(options: Options, *, fast: bool) -> dict[str, Any]:
    request = Request(
        config=options.config,
        fast=fast,
        batch=options.batch,
        steps=options.steps,
        precision=options.precision,
        compiled=options.compiled,
        checkpointing=options.checkpointing,
    )
    # Training takes the first GPU there is, unless it is told otherwise.
    environment = {"ACCELERATE_USE_CPU": "true"} if options.device == "cpu" else {}
    told = f"the {'fast' if fast else 'plain'} form"
    return run_alone("refersat.benchmark.training_worker", request.to_json(), told, environment)
