"""Do exported graphs answer as the model does, and how long do they take beside it?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from refersat.errors import UserError
from refersat.export.formats import ENDINGS, open_program
from refersat.export.manifest import read_export
from refersat.export.sessions import Run, joined, open_session
from refersat.models.rs2sam2 import RS2Sam2Model

TOLERANCE = 1e-3
"""Largest difference of a logit that is allowed, relative to the logits' spread (standard deviation)."""

RUNS = 5
_ENOUGH_SECONDS = 20.0


@dataclass(frozen=True)
class Comparison:
    """Of exported graphs with the model they were made from, for one batch.

    Attributes:
        batch: pairs of image and phrase.
        tokens: of the longest phrase.
        difference: largest of the logits, relative to their spread.
        presence_difference: largest of the presence logits.
        pixels_equal: share of the model's pixels on which the masks agree.
        seconds: of the graphs, the median of a few runs; None where nothing was timed.
        model_seconds: of the model in PyTorch, likewise.
    """

    batch: int
    tokens: int
    difference: float
    presence_difference: float
    pixels_equal: float
    seconds: float | None = None
    model_seconds: float | None = None

    @property
    def good(self) -> bool:
        """Whether both differences are allowed; what is not a number is not."""
        return self.difference <= TOLERANCE and self.presence_difference <= TOLERANCE


def open_graphs(folder: Path, *, threads: int) -> Run:
    """All graphs of an exported model as one: the inputs of `RS2Sam2Model.forward` in, everything by its name out.

    Raises:
        UserError: the folder holds no export, or one of another version.
    """
    rows = read_export(folder)["graphs"]
    if any("simplified" not in row for row in rows):
        raise UserError(f"{folder} was written by another version of refersat: export the model again")
    return joined([open_graph(folder, row, threads=threads) for row in rows])


def open_graph(folder: Path, row: Mapping[str, Any], *, threads: int) -> Run:
    """One of them, by what the manifest says of it.

    Args:
        folder: the export.
        row: file, inputs, outputs, and whether it is simplified.
        threads: for ONNX Runtime; PyTorch's own are set for the whole process.
    """
    path, takes, gives = folder / row["file"], list(row["inputs"]), list(row["outputs"])
    if path.suffix == ENDINGS["torch-export"]:
        return open_program(path, takes, gives)
    return open_session(path, takes, gives, threads=threads, simplified=row["simplified"])


@torch.inference_mode()
def compare(model: RS2Sam2Model, run: Run, inputs: Mapping[str, Tensor], *, timed: bool) -> Comparison:
    """Ask both the same.

    Args:
        model: on the CPU, in float32 and evaluation mode.
        run: of `open_graphs`.
        inputs: of the model's `forward`, by their names, one image for each phrase.
        timed: whether to measure both, with a first run that is not counted.
    """
    arrays = {name: tensor.numpy() for name, tensor in inputs.items()}
    expected, given = model(**inputs), run(arrays)
    logits, threshold = expected.logits.numpy(), model.config.mask_threshold
    return Comparison(
        batch=inputs["input_ids"].shape[0],
        tokens=inputs["input_ids"].shape[1],
        difference=float(np.abs(given["logits"] - logits).max() / logits.std()),
        presence_difference=float(np.abs(given["presence_logits"] - expected.presence_logits.numpy()).max()),
        pixels_equal=float(((given["logits"] > threshold) == (logits > threshold)).mean()),
        seconds=_median_seconds(lambda: run(arrays)) if timed else None,
        model_seconds=_median_seconds(lambda: model(**inputs)) if timed else None,
    )


def _median_seconds(call: Callable[[], object]) -> float:
    times: list[float] = []
    while len(times) < RUNS and sum(times) < _ENOUGH_SECONDS:
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return statistics.median(times)
