"""Some of the images of a batch, and what is about them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from refersat.models.some_images import SomeImages


@dataclass(frozen=True)
class Pair:
    one: Tensor
    rest: tuple[Tensor | None, ...]


@given(st.integers(1, 4), st.integers(1, 3), st.data())
def test_whole_images_are_taken_and_put_back(images: int, each: int, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.booleans(), min_size=images * each, max_size=images * each))
    some = SomeImages.with_any(torch.tensor(wanted), images)
    taken = [image for image in range(images) if any(wanted[image * each : (image + 1) * each])]
    rows = [image * each + k for image in taken for k in range(each)]
    assert some.images.tolist() == taken
    assert some.phrases.tolist() == rows
    assert some.are_all == (len(taken) == images)

    everything = torch.arange(images * each * 2).view(-1, 2)
    assert some.of_phrases(everything).tolist() == everything[rows].tolist()
    back = some.put_into(everything, -some.of_phrases(everything))
    assert [row.tolist() for row in back] == [
        (-row if number in rows else row).tolist() for number, row in enumerate(everything)
    ]


def test_everything_in_a_thing_is_taken_alike() -> None:
    some = SomeImages.with_any(torch.tensor([False, True, True]), 3)
    numbers = torch.arange(3)
    taken = some.of_images(Pair(numbers, (10 * numbers, None)))
    assert taken.one.tolist() == [1, 2]
    assert taken.rest[0] is not None
    assert taken.rest[0].tolist() == [10, 20]
    assert taken.rest[1] is None


def test_nothing_is_copied_if_all_are_wanted() -> None:
    some = SomeImages.with_any(torch.tensor([True, False, False, True]), 2)
    numbers = torch.arange(2)
    assert some.of_images(numbers) is numbers
