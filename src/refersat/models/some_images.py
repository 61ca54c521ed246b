"""Some of the images of a batch, with all phrases about them."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

from refersat.models.tracing import has_values, surely

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class SomeImages:
    """Some of N images, and of B phrases those about them, B/N in a row about each.

    Attributes:
        images: (M,) their numbers in the batch.
        phrases: (M B/N,) likewise of the phrases.
        are_all: whether nothing is left out; then nothing is copied.
    """

    images: Tensor
    phrases: Tensor
    are_all: bool

    @classmethod
    def with_any(cls, wanted: Tensor, images: int) -> SomeImages:
        """Those of N = `images` about which any phrase is `wanted` (B,) bool; where there are no values, all."""
        by_image = wanted.view(images, -1)
        phrases = torch.arange(wanted.shape[0], device=wanted.device)
        numbers = torch.arange(images, device=wanted.device)
        if not has_values(wanted) or surely(by_image.any(1)):
            return cls(numbers, phrases, are_all=True)
        numbers = numbers[by_image.any(1)]
        return cls(numbers, phrases.view(by_image.shape)[numbers].flatten(), are_all=False)

    def of_images(self, thing: Thing) -> Thing:
        """Of a tensor (N, ...), or of what is made of such."""
        return thing if self.are_all else _rows(thing, self.images)

    def of_phrases(self, thing: Thing) -> Thing:
        """Of a tensor (B, ...), or of what is made of such."""
        return thing if self.are_all else _rows(thing, self.phrases)

    def put_into(self, everything: Tensor, part: Tensor) -> Tensor:
        """A tensor (B, ...) of all phrases with what is theirs (M B/N, ...) instead."""
        return part if self.are_all else everything.index_copy(0, self.phrases, part)


def _rows(thing: Thing, numbers: Tensor) -> Thing:
    if isinstance(thing, Tensor):
        return cast(Thing, thing[numbers])
    if isinstance(thing, list | tuple):
        return cast(Thing, type(thing)(_rows(each, numbers) for each in thing))
    if is_dataclass(thing):
        parts: dict[str, Any] = {each.name: _rows(getattr(thing, each.name), numbers) for each in fields(thing)}
        return cast(Thing, replace(cast(Any, thing), **parts))
    return thing
