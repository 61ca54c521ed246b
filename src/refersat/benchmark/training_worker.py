"""Runs training steps of one form in a process of its own.

python -m refersat.benchmark.training_worker '{"config": "built-in", "fast": false, ...}'
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

import torch

from refersat.benchmark.case import Config
from refersat.benchmark.machine import Spread, forget_peak_memory, peak_memory_of, timed
from refersat.benchmark.training_case import make_batches, make_setup
from refersat.training.batch import Batch
from refersat.training.checkpoints import Learner
from refersat.training.devices import Devices
from refersat.training.parameters import MovingAverage
from refersat.training.step import gradients, make_optimizer, make_trainee, move, set_rate


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        config: which model.
        fast: as the loop runs it, or the plain form.
        batch: views of a step; None: as the recipe says.
        steps: that are measured, after one that is not.
        precision: float32 or bfloat16.
        compiled: let PyTorch compile layers of the fast form.
        checkpointing: of activations.
    """

    config: Config
    fast: bool
    batch: int | None
    steps: int
    precision: str
    compiled: bool
    checkpointing: bool

    def to_json(self) -> str:
        """For the command line of the process."""
        return json.dumps(asdict(self))


def run(request: Request) -> dict[str, Any]:
    """Measure; the answer is for JSON."""
    setup = make_setup(
        request.config,
        batch=request.batch,
        precision=request.precision,
        compiled=request.fast and request.compiled,
        checkpointing=request.checkpointing,
    )
    recipe = setup.recipe
    devices = Devices(recipe)
    device = str(devices.device)
    batches = make_batches(setup, 1 + request.steps)
    config: Any = setup.start.config
    trainee = make_trainee(setup, devices, config.vocab_size)
    prepared = devices.prepare(trainee)
    optimizer = make_optimizer(trainee, recipe, fused=request.fast and devices.fuses)
    learner = Learner(trainee, optimizer, MovingAverage(trainee.model, recipe.optimizer.average))
    prepared.train()
    forget_peak_memory()  # drawing random weights may take more
    losses: list[float] = []

    def step(number: int, batch: Batch) -> None:
        set_rate(optimizer, setup.schedule.rate(number))
        losses.append(gradients(devices, prepared, trainee, [batch], recipe)[0]["loss"])
        move(learner)

    first, _ = timed(lambda: step(0, batches[0]), device)
    graphs = _graphs()
    walls, processors = [], []
    for number, batch in enumerate(batches[1:], start=1):
        wall, processor = timed(lambda number=number, batch=batch: step(number, batch), device)  # type: ignore[misc]
        walls.append(wall)
        processors.append(processor)
    return {
        "seconds": Spread.of(walls).as_dict(),
        "processor_seconds": min(processors),
        "first_seconds": first,
        "peak_memory": peak_memory_of(device),
        "losses": losses,
        "graphs": graphs,
        "graphs_later": _graphs() - graphs,
        "parameters": sum(each.numel() for each in trainee.parameters()),
        "trained": sum(each.numel() for each in trainee.parameters() if each.requires_grad),
        "threads": torch.get_num_threads(),
    }


def _graphs() -> int:
    """How many were compiled so far."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def main() -> None:
    """Do what the only argument asks for, and print the numbers."""
    sys.stdout.write(json.dumps(run(Request(**json.loads(sys.argv[1])))))


if __name__ == "__main__":
    main()
