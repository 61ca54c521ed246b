"""What a run would be: what trains, how long, and with how much memory, without a step of it.

Memory and arithmetic are counted on a model without values (PyTorch's meta device): every tensor that the backward pass
would need is seen, and every matrix product of both passes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode
from transformers.models.deformable_detr.modeling_deformable_detr import DeformableDetrEncoderLayer

from refersat.device import choose_device
from refersat.training.devices import check_shares, choose_attention, crowded, slow_precision
from refersat.training.initialise import empty_model
from refersat.training.parts import checkpoint_activations, summaries
from refersat.training.recipe import Recipe, Stage
from refersat.training.setup import Setup, set_up
from refersat.training.summary import parts_table
from refersat.training.trainee import AnyTrainee

_SHARE_OF_PEAK = 0.4
"""Of the speed of large matrix products that training reaches: the rest goes into small layers and moving data."""

_OF_OPTIMIZER = {"adamw": 8, "muon": 4}
"""Bytes that it keeps for a parameter; muon twice as many for the few that are no matrices."""

_MEASURED_SIDE = 1536
_MEASURED_SECONDS = 0.5


@dataclass(frozen=True)
class Cost:
    """Of one stage's steps on one process: bytes of activations at the worst moment, and operations of a step."""

    activations: int
    operations: int


def dry_run(recipe: Recipe, *, processes: int = 1) -> list[str]:
    """Lines for people.

    Args:
        recipe: what would be done.
        processes: how many would share the work.

    Raises:
        UserError: as `train`, for what can be known before it begins.
    """
    check_shares(recipe, processes, sharded=recipe.sharded and processes > 1)
    setup = set_up(recipe)
    device = choose_device("auto")
    choose_attention(setup.start.config, recipe, device)
    with torch.device("meta"):
        trainee = setup.task.trainee(empty_model(setup.start.config), setup)
    if recipe.optimizer.activation_checkpointing:
        checkpoint_activations(trainee.model)
    setup.task.freeze(trainee.model, recipe.parts, setup.loss)
    parts = parts_table(summaries(trainee.model, dict(setup.start.origins)), recipe)
    costs = [cost_of(trainee, setup, stage, processes) for stage in setup.schedule.stages]
    return [
        *parts,
        "",
        *_schedule_lines(setup),
        _memory_line(trainee, recipe, costs, processes),
        _disk_line(trainee, recipe),
        _time_line(setup, costs, device),
        *slow_precision(recipe, device),
        *crowded(device),
    ]


def cost_of(trainee: AnyTrainee, setup: Setup, stage: Stage, processes: int) -> Cost:
    """What a step of a stage costs one process, for a trainee on the meta device."""
    views = max(1, stage.batch_size // (processes * setup.recipe.optimizer.accumulate))
    batch = setup.task.empty_batch(setup.start.config, stage, views, outlines=setup.categories is not None)
    trainee.train()
    for module in trainee.modules():
        if isinstance(module, DeformableDetrEncoderLayer):
            module.eval()  # in training it looks whether its values are finite, and here are none
    trainee.weights = setup.loss_of(stage)
    saved: dict[int, int] = {}
    with FlopCounterMode(display=False) as counter, _counted(saved, trainee):
        loss, _, _ = trainee(batch)
        loss.backward()
    trainee.zero_grad(set_to_none=True)
    return Cost(sum(saved.values()), counter.get_total_flops() * setup.recipe.optimizer.accumulate)


@contextmanager
def _counted(saved: dict[int, int], trainee: AnyTrainee) -> Iterator[None]:
    """Note the size of every storage that is kept for the backward pass, but for the weights."""
    own = {tensor.untyped_storage()._cdata for tensor in (*trainee.parameters(), *trainee.buffers())}
    kept = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept.append(storage)  # else its identity could be given to another
            saved[storage._cdata] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield


def _schedule_lines(setup: Setup) -> list[str]:
    schedule = setup.schedule
    lines = []
    for stage in schedule.stages:
        views = f"{stage.batch_size} views of {stage.image_size} px"
        phrases = "" if stage.phrases_per_view == 1 else f", {stage.phrases_per_view} phrases each"
        lines.append(f"{stage.steps:,} steps of {views}{phrases}")
    if schedule.samples is not None:
        lines.append(f"{schedule.samples:,} samples, {schedule.views / schedule.samples:.1f} epochs")
    measured = f"{len(setup.validation):,} phrases" if setup.validation else "nothing: model/ is the last one"
    lines.append(f"measured every {schedule.validate_every:,} steps: {measured}")
    return lines


def _memory_line(trainee: AnyTrainee, recipe: Recipe, costs: list[Cost], processes: int) -> str:
    """An estimate for each process."""
    every, trained = _counts(trainee)
    spread = processes if recipe.sharded else 1
    low = recipe.optimizer.precision == "bfloat16"
    parts = {
        "weights": 4 * every / spread + (2 * every if low else 0),
        "gradients": 4 * trained / spread,
        "optimizer": _OF_OPTIMIZER[recipe.optimizer.kind] * trained / spread,
        "average": 0 if recipe.optimizer.average is None else 4 * trained / spread,
        "activations": max(cost.activations for cost in costs) / (2 if low else 1),
    }
    told = ", ".join(f"{name} {_gigabytes(size)}" for name, size in parts.items() if size)
    return f"memory about {_gigabytes(sum(parts.values()))} for each process ({told})"


def _disk_line(trainee: AnyTrainee, recipe: Recipe) -> str:
    """What will lie in the run's folder at the worst moment: a state more than is kept, and a model more."""
    every, trained = _counts(trainee)
    averaged = 0 if recipe.optimizer.average is None else 4 * trained
    state = 4 * every + _OF_OPTIMIZER[recipe.optimizer.kind] * trained + averaged
    states, models = (recipe.keep + 1) * state, 3 * 2 * every
    return f"disk about {_gigabytes(states + models)} ({recipe.keep + 1} states of {_gigabytes(state)}, 3 models)"


def _counts(trainee: AnyTrainee) -> tuple[int, int]:
    """How many parameters there are, and how many train."""
    parameters = list(trainee.parameters())
    return sum(each.numel() for each in parameters), sum(each.numel() for each in parameters if each.requires_grad)


def _time_line(setup: Setup, costs: list[Cost], device: torch.device) -> str:
    low = setup.recipe.optimizer.precision == "bfloat16"
    speed = _SHARE_OF_PEAK * measured_speed(device, torch.bfloat16 if low else torch.float32)
    steps = zip(setup.schedule.stages, costs, strict=True)
    seconds = sum((stage.steps or 0) * cost.operations for stage, cost in steps) / speed
    return f"time about {_duration(seconds)} on {device} at {speed / 1e12:.2g} TFLOP/s, without measuring in between"


def measured_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of large matrix products, now, on this device."""
    left, right = (torch.ones(_MEASURED_SIDE, _MEASURED_SIDE, device=device, dtype=dtype) for _ in range(2))
    _ = left @ right
    done, began = 0, time.perf_counter()
    while (passed := time.perf_counter() - began) < _MEASURED_SECONDS:
        (left @ right)[0, 0].item()
        done += 1
    return 2 * _MEASURED_SIDE**3 * done / passed


def _gigabytes(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
