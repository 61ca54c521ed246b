"""Graphs in ONNX Runtime, ready to run on the CPU. Nothing here needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import NDArray

Arrays: TypeAlias = "Mapping[str, NDArray[Any]]"
Run: TypeAlias = "Callable[[Arrays], dict[str, NDArray[Any]]]"


def open_session(path: Path, takes: Sequence[str], gives: Sequence[str], *, threads: int, simplified: bool) -> Run:
    """An ONNX file as a function: arrays by their names in, arrays by their names out.

    Args:
        path: the file.
        takes: names of its inputs; more may be given to it.
        gives: names of its outputs.
        threads: of each run.
        simplified: whether ONNX Runtime has simplified the graph before it was written, and is not to try again.
    """
    import onnxruntime

    levels = onnxruntime.GraphOptimizationLevel
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = levels.ORT_DISABLE_ALL if simplified else levels.ORT_ENABLE_ALL
    # Threads that wait actively take the cores from those that work: a tenth of an answer's time on two cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda values: dict(zip(gives, session.run(gives, {name: values[name] for name in takes}), strict=True))


def joined(parts: Sequence[Run]) -> Run:
    """Graphs one after the other, each with what is known by then."""

    def run(values: Arrays) -> dict[str, NDArray[Any]]:
        known = dict(values)
        for part in parts:
            known |= part(known)
        return known

    return run
