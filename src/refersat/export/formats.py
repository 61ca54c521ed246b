"""How a graph is written to a file, and how PyTorch runs such a file again."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray

from refersat.errors import UserError
from refersat.export.graphs import BATCH, TOKENS, Graph, dimensions
from refersat.export.sessions import Arrays, Run
from refersat.export.simplify import simplify_file

Format = Literal["onnx", "torch-export"]
ENDINGS: Mapping[Format, str] = {"onnx": ".onnx", "torch-export": ".pt2"}

_LOUD = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def check_packages(kind: Format) -> None:
    """See that what a format needs is installed, before any work is done.

    Raises:
        UserError: something is not.
    """
    needed = ["onnx", "onnx_ir", "onnxscript", "onnxruntime"] if kind == "onnx" else []
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--format {kind} needs {', '.join(missing)}: pip install 'refersat[export]'")


def write_graph(graph: Graph, path: Path, kind: Format, *, longest: int) -> bool:
    """Write one graph for any number of pairs and phrases of up to `longest` tokens.

    ONNX files of more than 2 GB have their weights in a file beside them.

    Returns:
        Whether ONNX Runtime has simplified it, see `simplify_file`.
    """
    free = {BATCH: torch.export.Dim(BATCH, min=1), TOKENS: torch.export.Dim(TOKENS, min=2, max=longest)}
    shapes = {
        name: {place: free[size] for place, size in enumerate(dimensions(name, tensor)) if isinstance(size, str)}
        for name, tensor in graph.inputs.items()
    }
    with _quiet(), torch.no_grad():
        program = torch.export.export(graph.module, (graph.inputs,), dynamic_shapes={"given": shapes})
        if kind == "torch-export":
            program.example_inputs = None  # megabytes of noise
            torch.export.save(program, path)
            return False
        return _write_onnx(graph, program, path)


def _write_onnx(graph: Graph, program: torch.export.ExportedProgram, path: Path) -> bool:
    onnx = torch.onnx.export(
        program,
        input_names=list(graph.inputs),
        output_names=list(graph.outputs),
        dynamo=True,
        optimize=False,
        verbose=False,
    )
    assert onnx is not None
    _simplify(onnx.model)
    names: dict[Any, str] = {}
    for given, (name, tensor) in zip(onnx.model.graph.inputs, graph.inputs.items(), strict=True):
        assert given.shape is not None
        names |= {
            given.shape[place]: size for place, size in enumerate(dimensions(name, tensor)) if isinstance(size, str)
        }
    onnx.rename_axes(names)
    onnx.save(path)
    return simplify_file(path)


def _simplify(model: Any) -> None:
    """What matters of that which PyTorch's exporter does to a graph if it is to optimise.

    Its search for patterns takes minutes, and ONNX Runtime has one of its own.
    """
    from onnx_ir.passes import Sequential, common
    from onnxscript.optimizer import fold_constants

    common.InlinePass()(model)
    fold_constants(model)
    tidy = Sequential(
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedOpsetsPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.DeduplicateInitializersPass(),
        common.CommonSubexpressionEliminationPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
    )
    tidy(model)


def open_program(path: Path, takes: Sequence[str], gives: Sequence[str]) -> Run:
    """A graph for PyTorch as a function: arrays by their names in, arrays by their names out.

    Args:
        path: its file.
        takes: names of its inputs; more may be given to it.
        gives: names of its outputs.
    """
    with _quiet():
        module = torch.export.load(path).module()

    @torch.inference_mode()
    def run(values: Arrays) -> dict[str, NDArray[Any]]:
        outputs = module({name: torch.from_numpy(values[name]) for name in takes})
        return {name: outputs[name].numpy() for name in gives}

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """What the exporters say about their own insides is nobody's concern here."""
    before = {name: logging.getLogger(name).level for name in _LOUD}
    try:
        for name in _LOUD:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)
