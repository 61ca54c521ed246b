"""The mask refiner for a CPU: only where there are edges."""

from __future__ import annotations

from torch import Tensor, nn

from refersat.models.mask_refiner import SURE, MaskRefiner, edges_of, enlarged

MARGIN = 6
"""Cells around the box of the edges that have a say in where they are moved to. An edge counts a cell further out, the
refiner's convolutions reach three further, and what is enlarged one more."""


class FastRefiner(nn.Module):
    """`MaskRefiner`, for each mask in the box of its edges alone: elsewhere its corrections do not count.

    Args:
        refiner: the plain one, with whatever faster layers.
    """

    def __init__(self, refiner: MaskRefiner) -> None:
        super().__init__()
        self.plain = refiner

    def look(self, pixel_values: Tensor, features: Tensor) -> Tensor:
        """See `MaskRefiner.look`."""
        return self.plain.look(pixel_values, features)

    def forward(self, drawn: Tensor, seen: Tensor) -> Tensor:
        """See `MaskRefiner.forward`."""
        drawn = drawn.float().clamp(-SURE, SURE)
        edges = edges_of(drawn)
        refined, weights = enlarged(drawn, 4), enlarged(edges, 4)
        phrases = drawn.shape[0] // seen.shape[0]
        for number, edge in enumerate(edges[:, 0] > 0):
            if not edge.any():
                continue
            rows, columns = _with_margin(edge.any(1)), _with_margin(edge.any(0))
            here = (slice(number, number + 1), slice(None))
            image = (slice(number // phrases, number // phrases + 1), slice(None))
            correction = self.plain.correct(
                drawn[(*here, rows, columns)], seen[(*image, _times(rows, 2), _times(columns, 2))]
            )
            pixels = (*here, _times(rows, 4), _times(columns, 4))
            refined[pixels] += weights[pixels] * correction
        return refined


def _with_margin(lines: Tensor) -> slice:
    """From the first to the last of the rows, or columns, that are true, and some more."""
    places = lines.nonzero()[:, 0].tolist()
    return slice(max(0, places[0] - MARGIN), min(len(lines), places[-1] + 1 + MARGIN))


def _times(cells: slice, times: int) -> slice:
    return slice(times * cells.start, times * cells.stop)
