"""Blocks that PyTorch compiles when they first run: for GPUs, where a block is many small kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from refersat.models.hiera import FusedBlock

TEXT_LENGTH = 1
"""The dimension of the text stream that changes from phrase to phrase."""

SHAPES = 64
"""Compiled forms of a block that may be kept: one for each stage, window and pooling, with and without padding."""


class CompiledBlock(nn.Module):
    """`FusedBlock.forward`, compiled once for phrases of any length.

    Blocks of a shape share what is compiled. The first run of each takes seconds; PyTorch keeps the results on disk.

    Args:
        block: the block.
        backend: of `torch.compile`: a name, or a function that compiles a graph.
    """

    def __init__(self, block: FusedBlock, *, backend: str | Callable[..., Any] = "inductor") -> None:
        super().__init__()
        self.block = block
        self._run = torch.compile(block.forward, backend=backend, dynamic=False)

    def forward(
        self, features: Tensor, text: Tensor | None, text_padding: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `FusedBlock.forward`."""
        for tensor in (text, text_padding):
            if tensor is not None:
                torch._dynamo.mark_dynamic(tensor, TEXT_LENGTH)
        with torch._dynamo.config.patch(recompile_limit=SHAPES, accumulated_recompile_limit=8 * SHAPES):
            return self._run(features, text, text_padding)
