"""Layers that PyTorch compiles when they first run: for GPUs, where a layer is many small kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from refersat.errors import UserError
from refersat.models.beit3 import UnionEncoderLayer
from refersat.models.hiera import FusedBlock

Backend: TypeAlias = str | Callable[..., Any]
"""Of `torch.compile`: a name, or a function that compiles a graph."""

LENGTHS: Mapping[type[nn.Module], Mapping[int, int]] = {FusedBlock: {1: 1, 2: 1}, UnionEncoderLayer: {0: 1, 2: 3}}
"""Layer -> which arguments of its `forward` change from phrase to phrase, and in which dimension."""

SHAPES = 64
"""Compiled forms of a layer that may be kept: one for each stage, window and pooling, with and without padding."""


FIXED_LAYOUT = {"layout_optimization": False}
"""For Inductor in training: what it lays out anew around a convolution, it would expect in the backward pass with the
strides of the first phrase. Source: the comment on restriding in PyTorch 2.13's _functorch/_aot_autograd."""


def compiled_forward(
    layer: nn.Module, *, backend: Backend = "inductor", options: dict[str, Any] | None = None
) -> Callable[..., Any]:
    """The `forward` of a layer of one of `LENGTHS`, compiled once for phrases of any length.

    Layers of a shape share what is compiled. The first run of each takes seconds; PyTorch keeps the results on disk.
    Arguments are given by place.
    """
    lengths = LENGTHS[type(layer)]
    run = torch.compile(layer.forward, backend=backend, options=options, dynamic=False)

    def forward(*arguments: Any) -> Any:
        for place, dimension in lengths.items():
            if arguments[place] is not None:
                torch._dynamo.mark_dynamic(arguments[place], dimension)
        with torch._dynamo.config.patch(recompile_limit=SHAPES, accumulated_recompile_limit=8 * SHAPES):
            return run(*arguments)

    return forward


class CompiledBlock(nn.Module):
    """A block in its compiled form, for inference; see `compiled_forward`."""

    def __init__(self, block: FusedBlock, *, backend: Backend = "inductor") -> None:
        super().__init__()
        self.block = block
        self._run = compiled_forward(block, backend=backend)

    def forward(
        self, features: Tensor, text: Tensor | None, text_padding: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `FusedBlock.forward`."""
        result: tuple[Tensor, Tensor | None] = self._run(features, text, text_padding)
        return result


def compile_training(model: nn.Module, *, backend: Backend = "inductor") -> None:
    """Have the layers of a model run compiled in training, in place; parameters keep their names.

    In evaluation mode, and without gradients, they run as they are written: views of any size come by there, and each
    would be compiled anew.
    """
    options = FIXED_LAYOUT if backend == "inductor" else None
    for layer in model.modules():
        if type(layer) in LENGTHS:
            layer.forward = _in_training(layer, compiled_forward(layer, backend=backend, options=options))


def _in_training(layer: nn.Module, compiled: Callable[..., Any]) -> Callable[..., Any]:
    plain = layer.forward
    return lambda *arguments: (compiled if layer.training and torch.is_grad_enabled() else plain)(*arguments)


def check_compiler(device: torch.device) -> None:
    """See that PyTorch can compile for a device: by compiling a line.

    Raises:
        UserError: it cannot; says why.
    """
    try:
        torch.compile(lambda number: 2 * number + 1, backend="inductor")(torch.ones(2, device=device))
    except Exception as error:  # each backend has its own
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        needs = "Triton and a C compiler" if device.type == "cuda" else "a C++ compiler, such as g++"
        raise UserError(
            f"optimizer.compiled: PyTorch cannot compile for {device} here ({reason}): it needs {needs}; or leave "
            "optimizer.compiled false"
        ) from error
