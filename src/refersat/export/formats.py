"""How a graph is written to a file, and how such a file is run."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from numpy.typing import NDArray

from refersat.errors import UserError
from refersat.export.graphs import BATCH, TOKENS, Graph, dimensions

Format = Literal["onnx", "torch-export"]
ENDINGS: Mapping[Format, str] = {"onnx": ".onnx", "torch-export": ".pt2"}

Arrays: TypeAlias = "Mapping[str, NDArray[Any]]"
Run: TypeAlias = "Callable[[Arrays], dict[str, NDArray[Any]]]"

_LOUD = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


def check_packages(kind: Format, *, run: bool) -> None:
    """See that what a format needs is installed, before any work is done.

    Args:
        kind: the format.
        run: whether its files will be run, too.

    Raises:
        UserError: something is not.
    """
    needed = ["onnx", "onnx_ir", "onnxscript", *(["onnxruntime"] if run else [])] if kind == "onnx" else []
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"--format {kind} needs {', '.join(missing)}: pip install 'refersat[export]'")


def write_graph(graph: Graph, path: Path, kind: Format, *, longest: int) -> None:
    """Write one graph for any number of pairs and phrases of up to `longest` tokens.

    ONNX files of more than 2 GB have their weights in a file beside them.
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
        else:
            _write_onnx(graph, program, path)


def _write_onnx(graph: Graph, program: torch.export.ExportedProgram, path: Path) -> None:
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


def open_graph(path: Path, takes: Sequence[str], gives: Sequence[str], *, threads: int) -> Run:
    """A written graph, ready to run on the CPU: arrays by their names in, arrays by their names out.

    Args:
        path: its file.
        takes: names of its inputs; more may be given to it.
        gives: names of its outputs.
        threads: for a product of matrices; PyTorch's own are set for the whole process.
    """
    if path.suffix == ENDINGS["torch-export"]:
        with _quiet():
            module = torch.export.load(path).module()

        @torch.inference_mode()
        def run_exported(values: Arrays) -> dict[str, NDArray[Any]]:
            outputs = module({name: torch.from_numpy(values[name]) for name in takes})
            return {name: outputs[name].numpy() for name in gives}

        return run_exported

    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda values: dict(zip(gives, session.run(gives, {name: values[name] for name in takes}), strict=True))


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
