"""Single objects, whatever their kind, from what is said of every cell: peaks, their boxes, and which cells are whose.

Sources: centre-ness (FCOS, Tian et al., ICCV 2019, equation 3); greedy suppression of boxes that overlap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from refersat.models.hiera import per_phrase
from refersat.models.tracing import has_values, surely

PEAKS = 256
"""Best local maxima of an image that are looked at."""

SAME_OBJECT = 0.4
"""Two peaks whose boxes overlap by more (IoU) are of one object."""

LEAST_SCORE = 0.15

TRACED_ROUNDS = 16
"""Rounds of suppression in a graph, which may not depend on what is seen. On 594 images the built-in
model needed 7 (benchmarks/suppression_rounds.py)."""

LEAST_LIKENESS = 0.1
"""IoU of a cell's own box with an instance's, below which the cell is nobody's."""

ALMOST_NOTHING = 1e-6

AT_ONCE = 2**16
"""Pairs of boxes that are compared together: several arrays of so many numbers stay in a core's cache."""


@dataclass(frozen=True)
class Instances:
    """The objects of N images, the most certain first; K is how many the richest of them has, at least 1.

    Attributes:
        boxes: (N, K, 4) x0, y0, x1, y1 as shares of the image's sides.
        scores: (N, K) from 0 to 1; 0 where an image has fewer than K.
        cells: (N, K) int64, the cell of each peak in the flattened grid.
        owners: (N, h, w) int64, the instance that each cell belongs to, K for none.
    """

    boxes: Tensor
    scores: Tensor
    cells: Tensor
    owners: Tensor

    @property
    def count(self) -> int:
        """K."""
        return self.scores.shape[1]

    def spread(self, values: Tensor, nobody: float) -> Tensor:
        """Values (B, K) of the instances, B/N rows for each image -> (B, 1, h, w) of their cells, else `nobody`."""
        owners = per_phrase(self.owners, values.shape[0])
        padded = F.pad(values, (0, 1), value=nobody)
        return padded.gather(1, owners.flatten(1)).view(values.shape[0], 1, *owners.shape[1:])

    def share(self, cells: Tensor) -> Tensor:
        """Cells (B, 1, h, w), B/N rows for each image -> their mean over each instance's own (B, K), 0 if none."""
        owners = per_phrase(self.owners, cells.shape[0]).flatten(1)
        sums = cells.new_zeros(cells.shape[0], self.count + 1)
        counts = sums.scatter_add(1, owners, torch.ones_like(owners, dtype=cells.dtype))
        return (sums.scatter_add(1, owners, cells.flatten(1)) / counts.clamp(min=1))[:, :-1]


@torch.no_grad()
def find_instances(probability: Tensor, edges: Tensor, *, count: int) -> Instances:
    """Find up to `count` objects.

    Args:
        probability: (N, 1, h, w) that a cell shows an object.
        edges: (N, 4, h, w) cells from each cell's centre to the edges of its object; see `candidates.Survey`.
        count: K, how many at most.
    """
    height, width = probability.shape[-2:]
    scores = (probability.float() * _centredness(edges)).clamp(min=0)
    scores = scores * (scores == F.max_pool2d(scores, 3, stride=1, padding=1))
    scores, peaks = scores.flatten(1).topk(min(PEAKS, height * width))
    every_box = corners(edges).flatten(2).transpose(1, 2)
    boxes = every_box.gather(1, peaks[..., None].expand(-1, -1, 4))
    kept = unsuppressed(scores > LEAST_SCORE, overlaps(boxes, boxes) > SAME_OBJECT)
    chosen = torch.where(kept, torch.arange(kept.shape[1], device=kept.device), kept.shape[1]).sort(1).values
    count = most(kept, min(count, kept.shape[1]))
    chosen = chosen[:, :count]
    there = chosen < kept.shape[1]
    chosen = chosen.masked_fill(~there, 0)
    found = boxes.gather(1, chosen[..., None].expand(-1, -1, 4)) * there[..., None]
    likeness, owners = _likeliest(every_box, found)
    owners = torch.where(likeness > LEAST_LIKENESS, owners, count)
    return Instances(
        boxes=found,
        scores=scores.gather(1, chosen) * there,
        cells=peaks.gather(1, chosen),
        owners=owners.view(-1, height, width),
    )


def unsuppressed(there: Tensor, same: Tensor) -> Tensor:
    """Which peaks (N, P), the best first, are kept: those `there` and not the `same` (N, P, P) as one kept before.

    A peak's fate depends on better ones alone, so that each round settles one more link of every chain of them. In a
    graph, links beyond `TRACED_ROUNDS` are left as they are by then.
    """
    by_better = same.triu(diagonal=1).transpose(1, 2)
    kept = there
    for _ in range(kept.shape[1] if has_values(kept) else TRACED_ROUNDS):
        before, kept = kept, there & ~(by_better & kept[:, None]).any(-1)
        if surely(kept == before):
            break
    return kept


def most(kept: Tensor, count: int) -> int:
    """How many the richest image has (N, P), from 1 to `count`; where there are no values, `count`."""
    return max(1, min(count, int(kept.sum(1).max()))) if has_values(kept) else count


def corners(edges: Tensor) -> Tensor:
    """Distances (N, 4, h, w) -> x0, y0, x1, y1 (N, 4, h, w) as shares of the image's sides."""
    height, width = edges.shape[-2:]
    left, top, right, bottom = edges.float().unbind(1)
    x = torch.arange(width, device=edges.device) + 0.5
    y = torch.arange(height, device=edges.device)[:, None] + 0.5
    return torch.stack([(x - left) / width, (y - top) / height, (x + right) / width, (y + bottom) / height], dim=1)


def overlaps(some: Tensor, others: Tensor) -> Tensor:
    """IoU of boxes (N, P, 4) with boxes (N, Q, 4) of the same image: (N, P, Q)."""
    return _overlaps(some[:, :, None].unbind(-1), others[:, None].unbind(-1))


def shared_area(some: Tensor, others: Tensor) -> Tensor:
    """Of boxes (..., 4) with others (..., 4) that broadcast."""
    return _shared_area(some.unbind(-1), others.unbind(-1))


def area(boxes: Tensor) -> Tensor:
    """Of boxes (..., 4); 0 where they end before they begin."""
    return _area(boxes.unbind(-1))


def _overlaps(some: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """IoU of boxes, each given as x0, y0, x1 and y1, that broadcast."""
    # side by side in memory, numbers of one kind are worked on many at once: boxes of four would cost more
    shared = _shared_area(some, others)
    return shared / (_area(some) + _area(others) - shared).clamp(min=ALMOST_NOTHING)


def _shared_area(some: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    across, down = (
        (torch.minimum(some[k + 2], others[k + 2]) - torch.maximum(some[k], others[k])).clamp(min=0) for k in (0, 1)
    )
    return across * down


def _area(edges: Sequence[Tensor]) -> Tensor:
    x0, y0, x1, y1 = edges
    return (x1 - x0).clamp(min=0) * (y1 - y0).clamp(min=0)


def _likeliest(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the others (N, Q, 4) each box (N, P, 4) overlaps most: the IoU and which (N, P)."""
    edges = boxes.permute(2, 0, 1).contiguous()[:, :, None]
    columns = max(1, AT_ONCE // (others.shape[0] * others.shape[1])) if has_values(others) else boxes.shape[1]
    others_edges = others[..., None].unbind(-2)
    # in parts that stay in the cache: every step of it is a pass over P x Q numbers
    parts = [_overlaps(others_edges, part.unbind(0)).max(1) for part in torch.split(edges, columns, dim=-1)]
    return torch.cat([likeness for likeness, _ in parts], 1), torch.cat([which for _, which in parts], 1)


def _centredness(edges: Tensor) -> Tensor:
    """(N, 4, h, w) -> (N, 1, h, w), 1 in the middle of the box that a cell tells and 0 at its edge."""
    left, top, right, bottom = edges.float().clamp(min=ALMOST_NOTHING).unbind(1)
    across = torch.minimum(left, right) / torch.maximum(left, right)
    down = torch.minimum(top, bottom) / torch.maximum(top, bottom)
    return (across * down).sqrt()[:, None]
