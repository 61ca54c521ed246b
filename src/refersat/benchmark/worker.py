"""Runs one form of a model in a process of its own, so that the peak of memory is that form's alone.

python -m refersat.benchmark.worker '{"config": "large", "form": "plain", ...}'
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from refersat.benchmark.case import Config, make_inputs, make_model
from refersat.benchmark.machine import Spread, forget_peak_memory, peak_memory, peak_memory_of, timed


@dataclass(frozen=True)
class Request:
    """What to run.

    Attributes:
        config: which model.
        fast: the fast form, or the plain one.
        device: for example cpu or cuda.
        dtype: the number format of weights and inputs.
        int8: keep the weights of linear layers in 8 bits in the fast form.
        batch: pairs of image and phrase.
        repeats: forward passes that are measured, after one that is not.
        compiled: let PyTorch compile the blocks of the fast form.
        logits: file for the answers, a NumPy array (batch, S, S).
    """

    config: Config
    fast: bool
    device: str
    dtype: str
    int8: bool
    batch: int
    repeats: int
    compiled: bool
    logits: str

    def to_json(self) -> str:
        """For the command line of the process."""
        return json.dumps(asdict(self))


def run(request: Request) -> dict[str, Any]:
    """Measure; the answer is for JSON."""
    import numpy as np
    import torch

    from refersat.models.optimized import optimize

    dtype = getattr(torch, request.dtype)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = make_model(request.config, dtype, request.device)
    forget_peak_memory()  # drawing random weights takes more than any model does
    inputs = make_inputs(request.config, model, request.batch)
    if request.fast:
        optimize(model, torch.device(request.device), dtype, compiled=request.compiled, int8=request.int8)
    arguments = [(part.to(dtype) if part.is_floating_point() else part).to(request.device) for part in inputs]
    if request.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(request.device)

    with torch.inference_mode():
        began = time.perf_counter()
        logits = model(*arguments).logits[:, 0].float().cpu().numpy()
        first = time.perf_counter() - began
        until_then = peak_memory_of(request.device)
        forget_peak_memory()
        held = peak_memory()
        walls, processors = [], []
        for _ in range(request.repeats):
            wall, processor = timed(lambda: model(*arguments), request.device)
            walls.append(wall)
            processors.append(processor)
    answering = peak_memory_of(request.device)
    np.save(request.logits, logits)
    return {
        "seconds": Spread.of(walls).as_dict(),
        "processor_seconds": min(processors),
        "first_seconds": first,
        "peak_memory": max(until_then, answering),
        "answer_peak_memory": answering,
        "held_memory": held,
        "threads": torch.get_num_threads(),
        "mask_threshold": model.config.mask_threshold,
        "two_class_logit": model.config.two_class_logit,
    }


def main() -> None:
    """Do what the only argument asks for, and print the numbers."""
    request = Request(**json.loads(sys.argv[1]))
    assert Path(request.logits).suffix == ".npy"
    sys.stdout.write(json.dumps(run(request)))


if __name__ == "__main__":
    main()
