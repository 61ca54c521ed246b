"""Attention over image tokens, laid out for a CPU: batched matrix products and a softmax that stays in the cache."""

from __future__ import annotations

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from refersat.device import multiplies_blocks
from refersat.models.optimized.bands import in_bands
from refersat.models.optimized.packed import PackedLinear

CACHE_BYTES = 8 * 2**20
"""Of attention weights that are computed, normalised and used before the next ones are."""


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Softmax(query key^T / sqrt(d)) value, for (G, n, d), (G, m, d) and (G, m, d), all contiguous.

    PyTorch's own kernel is slower here, as its blocks are too small for matrices of 72 columns. But where the processor
    multiplies blocks (Intel's AMX), and the weights of a single group would not fit into the cache, it is faster.
    """
    groups, rows, columns = *query.shape[:2], key.shape[1]
    room = max(1, CACHE_BYTES // query.element_size() // columns)
    if rows > room and query.dtype == torch.bfloat16 and multiplies_blocks():
        return F.scaled_dot_product_attention(query[None], key[None], value[None])[0]
    scale, unread = query.shape[-1] ** -0.5, query.new_empty(1)
    together, step = (max(1, room // rows), rows) if rows <= room else (1, room)
    mixed = torch.empty_like(query)
    keys = key.transpose(1, 2)
    for group in range(0, groups, together):
        of = slice(group, group + together)
        for row in range(0, rows, step):
            some = query[of, row : row + step]
            weights = torch.baddbmm(unread, some, keys[of], beta=0, alpha=scale)
            torch.softmax(weights, -1, out=weights)
            torch.bmm(weights, value[of], out=mixed[of, row : row + step])
    return mixed


def window_attention(features: Tensor, project: PackedLinear, *, heads: int, window: int, stride: int) -> Tensor:
    """What a Hiera block computes before the output projection of its attention.

    Args:
        features: (B, H, W, C'); H and W are multiples of the window.
        project: to queries, keys and values (..., 3 C).
        heads: of the attention.
        window: side of the windows; 0 is one window over everything.
        stride: by which queries are pooled; 1 leaves them.

    Returns:
        (B, H / stride, W / stride, C).
    """
    height, width = features.shape[1:3]
    sides = (window or height, window or width)

    def attended(band: Tensor) -> Tensor:
        return _attended(project(band), heads=heads, sides=sides, stride=stride)

    places = features.shape[0] * sides[0] * width
    size = places * project.width * features.element_size()
    return in_bands(attended, features, 1, unit=sides[0], size=size)


def _attended(qkv: Tensor, *, heads: int, sides: tuple[int, int], stride: int) -> Tensor:
    """Attention within windows of these sides, of queries, keys and values (B, h, W, 3 C)."""
    batch, height, width, channels = qkv.shape
    query, key, value = qkv.view(batch, height, width, 3, channels // 3).unbind(3)
    query_sides = sides
    if stride > 1:
        query = pooled(query, stride)
        query_sides = (sides[0] // stride, sides[1] // stride)
    size = query.shape[1:3]
    # Windows and heads become the batch of one matrix product: partition and transposition are one copy.
    mixed = attend(_gather(query, query_sides, heads), _gather(key, sides, heads), _gather(value, sides, heads))
    return _scatter(mixed, query_sides, (batch, *size, heads))


def _gather(features: Tensor, sides: tuple[int, int], heads: int) -> Tensor:
    """(B, H, W, C) -> (B x windows x heads, tokens of a window, C / heads), contiguous."""
    batch, height, width, channels = features.shape
    down, right = sides
    split = features.view(batch, height // down, down, width // right, right, heads, channels // heads)
    return split.permute(0, 1, 3, 5, 2, 4, 6).contiguous().view(-1, down * right, channels // heads)


def _scatter(mixed: Tensor, sides: tuple[int, int], shape: tuple[int, int, int, int]) -> Tensor:
    """The reverse of `_gather`; `shape` is batch, height, width and heads."""
    batch, height, width, heads = shape
    down, right = sides
    split = mixed.view(batch, height // down, width // right, heads, down, right, -1)
    return split.permute(0, 1, 4, 2, 5, 3, 6).reshape(batch, height, width, -1)


def pooled(features: Tensor, stride: int) -> Tensor:
    """(B, H, W, C) -> (B, H / stride, W / stride, C), the largest of each square; sides are multiples of the stride.

    With channels side by side, comparing whole arrays takes a fraction of what PyTorch's pooling takes.
    """
    rows = reduce(torch.maximum, (features[:, row::stride] for row in range(stride)))
    return reduce(torch.maximum, (rows[:, :, column::stride] for column in range(stride)))


def padded(features: Tensor, window: int) -> Tensor:
    """(B, H, W, C) with zeros below and to the right, up to whole windows."""
    if not window:
        return features
    down, right = -features.shape[1] % window, -features.shape[2] % window
    return F.pad(features, (0, 0, 0, right, 0, down)) if down or right else features
