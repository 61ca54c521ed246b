"""A part of the built-in model compiled ahead by PyTorch's Inductor, beside its plain and its fast form.

    OMP_NUM_THREADS=1 python benchmarks/compiled_ahead.py [--graph image-encoder] [--dtype bfloat16] [--repeats 8]

The parts are the graphs of `refersat export`, for one image and one phrase; an image encoder sees all views of it. To
compile takes minutes and a C++ compiler.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from refersat.export.graphs import Graph, graphs
from refersat.models.loading import LoadedModel, load_model
from refersat.models.optimized import optimize

KEPT_FLOAT32 = "positional_embedding"


def main() -> None:
    """Time the three forms and print their least seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graph", choices=["union-encoder", "image-encoder", "decoder"], default="image-encoder")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--repeats", type=int, default=8)
    arguments = parser.parse_args()
    dtype = getattr(torch, arguments.dtype)
    graph = graph_of(arguments.graph, dtype)
    inputs = {name: _in(dtype, tensor[:1]) for name, tensor in graph.inputs.items()}

    def least(run: Callable[[dict[str, Tensor]], object]) -> float:
        seconds = []
        with torch.inference_mode():
            run(inputs)
            for _ in range(arguments.repeats):
                began = time.perf_counter()
                run(inputs)
                seconds.append(time.perf_counter() - began)
        return min(seconds)

    print(f"{graph.name} in {arguments.dtype}, {torch.get_num_threads()} threads, least of {arguments.repeats}")
    print(f"plain: {least(graph.module):.3f} s")
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        program = torch.export.export(graph.module, (inputs,))
        began = time.perf_counter()
        package = torch._inductor.aoti_compile_and_package(
            program, package_path=str(Path(folder) / "graph.pt2"), inductor_configs={"freezing": True}
        )
        took = time.perf_counter() - began
        print(f"compiled ahead: {least(torch._inductor.aoti_load_package(package)):.3f} s; {took:.0f} s to compile")
    optimize(graph.module, torch.device("cpu"), dtype)
    print(f"fast form: {least(graph.module):.3f} s")


def graph_of(name: str, dtype: torch.dtype) -> Graph:
    """One of the built-in model's, in a number format."""
    loaded = load_model("built-in")
    assert isinstance(loaded, LoadedModel)
    graph = next(each for each in graphs(loaded.model) if each.name == name)
    for weight, parameter in graph.module.named_parameters():
        if KEPT_FLOAT32 not in weight:
            parameter.data = parameter.data.to(dtype)
    return graph


def _in(dtype: torch.dtype, tensor: Tensor) -> Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() else tensor.clone()


if __name__ == "__main__":
    main()
