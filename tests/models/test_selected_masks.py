"""The mask put together from views: finely where that shows the whole object, else coarsely."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from refersat.models.selected_masks import TAKEN_TO_PIECES, selected_masks
from refersat.models.selection import Selection
from refersat.models.sightings import Sightings
from tests.models.test_sightings import LEFT, RIGHT, sighting

SURE = 12.0


def shown(side: int, *rows: slice) -> Tensor:
    """Logits (1, 1, side, side): of the left half, these rows."""
    logits = torch.full((1, 1, side, side), -SURE)
    for part in rows:
        logits[..., part, : side // 2] = SURE
    return logits


def drawn(fine: Tensor, coarse: Tensor, *, meant: bool = True) -> Tensor:
    """Which cells (16, 16) are drawn where both views show LEFT, and RIGHT is another object."""
    views = [sighting(16, [[(LEFT, 0.5), (RIGHT, 0.4)]]), sighting(8, [[(LEFT, 0.9)]])]
    sightings = Sightings.of(views, count=64)
    left = sightings.objects.boxes[:, :, 0] == LEFT[0]
    logits = torch.where(left == meant, SURE, -SURE).masked_fill(sightings.objects.scores == 0, -20.0)
    mask = selected_masks([fine, coarse], Selection(sightings, logits))
    assert mask.shape == (1, 1, 16, 16)
    return mask[0, 0] > 0


@pytest.mark.parametrize("rows", [1, 2])
def test_what_the_finer_view_takes_to_pieces_is_drawn_coarsely(rows: int) -> None:
    assert 8 / rows > TAKEN_TO_PIECES
    mask = drawn(shown(16, slice(4, 4 + rows)), shown(8, slice(2, 6)))
    assert mask[5:11, 1:7].all()
    around = torch.ones_like(mask)
    around[3:13, :9] = False
    assert not mask[around].any()  # blunt by a cell or so


def test_what_the_finer_view_shows_whole_is_drawn_by_it_alone() -> None:
    mask = drawn(shown(16, slice(4, 9)), shown(8, slice(2, 6)))
    assert mask[4:9, :8].all()
    assert mask.sum() == 5 * 8


def test_parts_are_drawn_with_what_is_meant_whatever_is_said_of_others() -> None:
    part = (0.0, 0.25, 0.25, 0.5)
    sightings = Sightings.of([sighting(16, [[(LEFT, 0.9), (part, 0.8), (RIGHT, 0.7)]])], count=64)
    logits = torch.tensor([[SURE, -SURE, -SURE], [-SURE, SURE, -SURE], [-SURE, -SURE, SURE]])  # three phrases
    everything = torch.full((3, 1, 16, 16), SURE)
    whole, piece, other = selected_masks([everything], Selection(sightings, logits))[:, 0] > 0
    assert whole[4:12, :8].all()
    assert whole.sum() == 8 * 8
    assert piece[4:8, :4].all()
    assert piece.sum() == 4 * 4
    assert other[:8, 8:].all()
    assert other.sum() == 8 * 8


def test_what_is_not_meant_is_drawn_in_no_view() -> None:
    assert not drawn(shown(16, slice(4, 6)), shown(8, slice(2, 6)), meant=False)[:, :8].any()
