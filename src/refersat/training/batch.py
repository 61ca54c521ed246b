"""What one forward pass of training gets, and how a step's views are shared by processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.box import Box
from refersat.models.configuration import RS2Sam2Config
from refersat.models.preprocess import preprocess
from refersat.text.tokenizer import PhraseTokenizer

UNNAMED = -1
"""In place of a category's number: the phrase calls things by a name that no category has."""


class AnyBatch:
    """What all batches have: B phrases about N views, B/N in a row about each; see `Batch`."""

    input_ids: Tensor
    attention_mask: Tensor
    present: Tensor
    named: Tensor | None
    labels: Tensor | None
    label_weights: Tensor | None
    views: tuple[str, ...]
    phrases: tuple[str, ...]

    def to(self, device: torch.device) -> Self:
        """The same batch on a device."""
        moved: dict[str, Any] = {name: t.to(device) for name, t in vars(self).items() if isinstance(t, Tensor)}
        return replace(cast(Any, self), **moved)  # type: ignore[no-any-return]

    def told(self) -> list[str]:
        """A line for each phrase, or for each view where there are none: "ship.png: the red ship"."""
        if not self.phrases:
            return list(self.views)
        each = len(self.phrases) // len(self.views)
        return [f"{self.views[number // each]}: {phrase}" for number, phrase in enumerate(self.phrases)]


@dataclass(frozen=True)
class Batch(AnyBatch):
    """Of an RS2-SAM 2: B phrases about N views of side S, B/N in a row about each.

    `pixel_values` (N, 3, S, S), `union_pixel_values` (N, 3, U, U), `input_ids` and `attention_mask` (B, L),
    `target` (B, 1, S, S) and `present` (B,), float 0 or 1.
    Where the views' objects have outlines:
    `named` (B,) int64: the category that the phrase names, be it there or not, from 0; or `UNNAMED`;
    `labels` (N, S/4, S/4) int64: 0 background, 1.. categories; `label_weights` (N, S/4, S/4) float32;
    `edges` (N, 4, S/4, S/4) float32: cells from each cell's centre to the left, top, right and bottom edge of what it
    shows.
    `views` (N) and `phrases` (B) are for people: where each view comes from, and what is said.
    """

    pixel_values: Tensor
    union_pixel_values: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    target: Tensor
    present: Tensor
    named: Tensor | None = None
    labels: Tensor | None = None
    label_weights: Tensor | None = None
    edges: Tensor | None = None
    views: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True)
class View:
    """One view and what is said about it, before it is part of a batch.

    `pixels` (H, W, 3) uint8, `targets` (P, S, S) bool for its P phrases, `present` whether they
    name something there, `boxes` of what they name as x0, y0, x1, y1 in shares of the view, None where that is nothing,
    `named` their categories from 0 or `UNNAMED`, `labels` and `label_weights` (S/4, S/4) and `edges` (4, S/4, S/4),
    as in `Batch`.
    """

    name: str
    pixels: NDArray[np.uint8]
    phrases: list[str]
    targets: NDArray[np.bool_]
    present: list[bool]
    boxes: list[Box | None] = field(default_factory=list)
    named: list[int] | None = None
    labels: NDArray[np.int64] | None = None
    label_weights: NDArray[np.float32] | None = None
    edges: NDArray[np.float32] | None = None


def collate(views: Sequence[View], tokenizer: PhraseTokenizer, config: RS2Sam2Config) -> Batch:
    """Put views together; `config.image_size` is the side of `pixel_values`."""
    pixel_values, union_pixel_values = preprocess([view.pixels for view in views], config)
    phrases = tuple(phrase for view in views for phrase in view.phrases)
    input_ids, attention_mask = tokenizer(phrases)
    named = [name for view in views for name in view.named or ()]
    labels = [view.labels for view in views if view.labels is not None]
    weights = [view.label_weights for view in views if view.label_weights is not None]
    edges = [view.edges for view in views if view.edges is not None]
    return Batch(
        pixel_values=pixel_values,
        union_pixel_values=union_pixel_values,
        input_ids=input_ids,
        attention_mask=attention_mask,
        target=torch.from_numpy(np.concatenate([view.targets for view in views]))[:, None].float(),
        present=torch.tensor([float(present) for view in views for present in view.present]),
        named=torch.tensor(named) if views[0].named is not None else None,
        labels=torch.from_numpy(np.stack(labels)) if labels else None,
        label_weights=torch.from_numpy(np.stack(weights)) if weights else None,
        edges=torch.from_numpy(np.stack(edges)) if edges else None,
        views=tuple(view.name for view in views),
        phrases=phrases,
    )


Collate = Callable[[Sequence[View], Any, Any], AnyBatch]
"""Puts views together with a tokenizer and a configuration whose `image_size` is the views'."""


def shares(batch_size: int, *, rank: int, processes: int, parts: int) -> list[range]:
    """Which views of a step's batch a process works on, in each of the `parts` in which it does so."""
    size = batch_size // (processes * parts)
    starts = [(part * processes + rank) * size for part in range(parts)]
    return [range(start, start + size) for start in starts]
