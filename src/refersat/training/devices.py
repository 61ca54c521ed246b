"""The processes that train together: each with the whole model (DDP), or each with a shard of it (FSDP)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedDataParallelKwargs, gather_object
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from refersat.device import computes_in_bfloat16
from refersat.errors import UserError
from refersat.training.objective import Totals
from refersat.training.recipe import Recipe
from refersat.training.trainee import AnyTrainee

Item = TypeVar("Item")

_ASKED_FOR_SHARDS = "ACCELERATE_USE_FSDP"


def processes() -> PartialState:
    """Which of how many processes this is, as `torchrun` or `accelerate launch` started them."""
    return PartialState(cpu=_on_cpu())


def _on_cpu() -> bool:
    """Accelerate takes processes for separate runs, unless it is told that a CPU is all there is."""
    asked = os.environ.get("ACCELERATE_USE_CPU", "false").lower() in ("true", "1")
    return asked or not torch.accelerator.is_available()


def check_shares(recipe: Recipe, processes: int, *, sharded: bool) -> None:
    """See that a recipe's batches can be shared evenly, and its optimizer be spread if that is wanted.

    Raises:
        UserError: what is in the way.
    """
    parts = recipe.optimizer.accumulate
    for stage in recipe.stages:
        if stage.batch_size % (processes * parts):
            raise UserError(
                f"a batch of {stage.batch_size} cannot be shared evenly by {processes} "
                + ("process" if processes == 1 else "processes")
                + (f" in {parts} parts (optimizer.accumulate)" if parts > 1 else "")
                + f": make batch_size of every stage a multiple of {processes * parts}"
            )
    if sharded and recipe.optimizer.kind == "muon":
        raise UserError("muon works on whole matrices, which no process of a sharded run has: use kind adamw")
    if sharded and recipe.optimizer.compiled:
        raise UserError("optimizer.compiled was never tried with shards of layers: leave out one of it and sharded")


def slow_precision(recipe: Recipe, device: torch.device) -> list[str]:
    """A line for people where a run in bfloat16 would be slow; else none."""
    if recipe.optimizer.precision == "float32" or device.type != "cpu" or computes_in_bfloat16(device):
        return []
    return [
        "bfloat16 is many times slower than float32 on this processor, which has neither AVX-512 BF16 nor AMX: "
        "--set optimizer.precision=float32"
    ]


def crowded(device: torch.device) -> list[str]:
    """A line for people where other programs use the cores that threads would wait for each other on; else none."""
    cores, threads = os.cpu_count() or 1, torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or not hasattr(os, "getloadavg"):
        return []
    load = os.getloadavg()[0]
    free = max(1, int(cores - load + 0.5))
    if threads <= free:
        return []
    return [
        f"other programs use this machine (load {load:.1f} on {cores} cores): {threads} threads that wait for each "
        f"other can be several times slower than OMP_NUM_THREADS={free}"
    ]


def choose_attention(config: PreTrainedConfig, recipe: Recipe, device: torch.device) -> None:
    """Let a model compute attention in the way that is fastest for the recipe's precision there."""
    if recipe.optimizer.precision == "bfloat16" and device.type == "cpu":
        # PyTorch's fused attention has no fast bfloat16 kernel for CPUs; plain products are four times as fast.
        config._attn_implementation = "eager"


class Devices:
    """This process's device and what it has to do with the others, by accelerate.

    `accelerate launch --use_fsdp` shards the model as `sharded: true` in the recipe does. PyTorch's own `fully_shard`
    does it, because accelerate has no sharding for processes on a CPU.

    Attributes:
        processes, rank: how many share the work, and which of them this is.
        main: whether it is the one that writes.
        device: of this process.
        sharded: whether each has a shard of the model.
        fuses: whether AdamW is faster there as one kernel for many parameters.

    Raises:
        UserError: the batch cannot be shared evenly, or the recipe's optimizer cannot be sharded.
    """

    def __init__(self, recipe: Recipe) -> None:
        asked = os.environ.pop(_ASKED_FOR_SHARDS, "false").lower() in ("true", "1")
        # A stage without phrases, or with another loss, may leave parameters without gradient.
        idle = any(not stage.phrases_per_view or stage.loss is not None or stage.only for stage in recipe.stages)
        self.accelerator = Accelerator(
            cpu=_on_cpu(),
            kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=idle)],
        )
        self.processes: int = self.accelerator.num_processes
        self.rank: int = self.accelerator.process_index
        self.main: bool = self.accelerator.is_main_process
        self.device: torch.device = self.accelerator.device
        self.fuses: bool = self.device.type == "cuda"
        self._half = recipe.optimizer.precision == "bfloat16"
        self.sharded = (recipe.sharded or asked) and self.processes > 1
        check_shares(recipe, self.processes, sharded=self.sharded)

    def prepare(self, trainee: AnyTrainee) -> nn.Module:
        """The trainee as it is to be called in training; to be done before the optimizer is made."""
        if not self.sharded:
            prepared: nn.Module = self.accelerator.prepare(trainee)
            return prepared
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.processes,))
        for module in trainee.modules():
            if isinstance(module, trainee.shards):
                fully_shard(module, mesh=mesh)
        fully_shard(trainee, mesh=mesh)
        return trainee

    def precision(self) -> torch.autocast:
        """For the forward pass. Not left to accelerate, whose precision is one for the whole life of a process."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._half)

    def unsynchronised(self, prepared: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
        """For each but the last part of a batch: gradients are added up here, and shared with the last one's."""
        if last or self.processes == 1:
            return nullcontext()
        return _unsharded_gradients(prepared) if self.sharded else self.accelerator.no_sync(prepared)

    def clip(self, trainee: AnyTrainee, most: float) -> Tensor:
        """Scale all gradients down to a norm of at most `most`; the norm before, a scalar."""
        norm = self.accelerator.clip_grad_norm_([p for p in trainee.parameters() if p.grad is not None], most)
        return whole(norm)

    def anywhere(self, here: bool) -> bool:
        """Whether something is so in any process; all have to ask."""
        if here:
            self.accelerator.set_trigger()
        return bool(self.accelerator.check_trigger())

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.processes == 1:
            return values
        summed: Tensor = self.accelerator.reduce(values.to(self.device), reduction="sum")
        return summed

    def totals(self, part: Totals) -> Totals:
        """Those of a batch from those of this process's share of it."""
        return Totals.from_stacked(self.total(part.stacked()).to(self.device))

    def together(self, items: list[Item]) -> list[Item]:
        """The items of all processes, in the order of the processes."""
        if self.processes == 1:
            return items
        gathered: list[Item] = gather_object(items)
        return gathered

    @contextmanager
    def whole_model(self, model: PreTrainedModel) -> Iterator[PreTrainedModel]:
        """A model with all weights here, in evaluation mode: `model` itself, or a copy where that is sharded."""
        if not self.sharded:
            model.eval()
            yield model
            model.train()
            return
        copy = type(model)(model.config).to(self.device)  # type: ignore[arg-type]
        with torch.no_grad():
            state = dict(model.state_dict(keep_vars=True))
            for name, tensor in copy.state_dict().items():
                tensor.copy_(whole(state[name].detach()))
        copy.eval()
        yield copy


@contextmanager
def _unsharded_gradients(prepared: Any) -> Iterator[None]:
    prepared.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        prepared.set_requires_gradient_sync(True)


def whole(tensor: Any) -> Tensor:
    """A tensor of which each process has a shard, put together; any other as it is. All processes have to ask."""
    full: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return full
