"""The pieces of the fast form, each beside what PyTorch does by itself: processor milliseconds, one thread.

    python benchmarks/fast_pieces.py [--dtype bfloat16]

Shapes are those of the released model. Processor time, so that a busy machine disturbs little.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.optimized.attention import attend
from refersat.models.optimized.int8 import Int8Linear
from refersat.models.optimized.packed import PackedLinear

LAYERS = (
    (4096, 576, 2304),
    (4096, 2304, 576),
    (4096, 576, 1728),
    (65536, 144, 576),
    (16384, 288, 1152),
    (211, 1024, 4096),
    (1025, 1024, 4096),
)
"""Rows, inputs, outputs."""

ATTENTIONS = ((1024, 64, 2), (1024, 16, 4), (16, 256, 8), (16, 64, 16), (1, 4096, 8))
"""Windows, tokens of each, heads of 72 columns."""

DEPTH = 72
REPEATS = 5


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", default="bfloat16", choices=["bfloat16", "float32"])
    dtype = getattr(torch, parser.parse_args().dtype)
    torch.set_num_threads(1)
    with torch.inference_mode():
        print(
            "GFLOP/s\n| rows, in, out | linear | packed | linear, then GELU | packed with GELU | packed with residual "
            "| the same in int8 |"
        )
        print("|---|---|---|---|---|---|---|")
        for shape in LAYERS:
            layer_row(*shape, dtype)
        print(
            "\nms\n| windows, tokens, heads | PyTorch's kernel | products and a softmax | `attend` |\n|---|---|---|---|"
        )
        for shape in ATTENTIONS:
            attention_row(*shape, dtype)


def layer_row(rows: int, inputs: int, outputs: int, dtype: torch.dtype) -> None:
    """A line of the first table."""
    layer = nn.Linear(inputs, outputs).to(dtype)
    features, residual = torch.randn(rows, inputs).to(dtype), torch.randn(rows, outputs).to(dtype)
    packed, activated = PackedLinear.of(layer), PackedLinear.of(layer, gelu=True)
    small = Int8Linear(packed)
    ways: list[Callable[[], Tensor]] = [
        lambda: layer(features),
        lambda: packed(features),
        lambda: F.gelu(layer(features)),
        lambda: activated(features),
        lambda: packed(features, residual=residual),
        lambda: small(features, residual=residual),
    ]
    operations = 2 * rows * inputs * outputs
    speeds = " | ".join(f"{operations / milliseconds(way) / 1e6:.0f}" for way in ways)
    print(f"| {rows}, {inputs}, {outputs} | {speeds} |", flush=True)


def attention_row(windows: int, tokens: int, heads: int, dtype: torch.dtype) -> None:
    """A line of the second table."""
    query, key, value = (torch.randn(windows * heads, tokens, DEPTH).to(dtype) for _ in range(3))
    query *= DEPTH**-0.5
    split = [part.view(windows, heads, tokens, DEPTH) for part in (query, key, value)]
    ways: list[Callable[[], Tensor]] = [
        lambda: F.scaled_dot_product_attention(*split, scale=1.0),
        lambda: torch.softmax(query @ key.transpose(1, 2), -1) @ value,
        lambda: attend(query, key, value),
    ]
    print(f"| {windows}, {tokens}, {heads} | {' | '.join(f'{milliseconds(way):.1f}' for way in ways)} |", flush=True)


def milliseconds(way: Callable[[], Tensor]) -> float:
    """The least of several."""
    way()
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        way()
        seconds.append(time.process_time() - began)
    return 1000 * min(seconds)


if __name__ == "__main__":
    main()
