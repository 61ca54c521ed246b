"""The objects of an image as seen in one view or several: each is taken from the view that shows it best.

A network that learned small objects from few images takes large ones to pieces, and sees them whole in a coarser view.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from refersat.models.hiera import per_phrase
from refersat.models.instances import SAME_OBJECT, Instances, area, overlaps, shared_area

SMALLEST = 1e-3
"""Cells; keeps shares of nothing finite."""

BELONGS = 0.25
"""An object of the finest view belongs to a target if more of it lies there; of a small one, many cells do not."""

BELONGS_COARSELY = 0.5
"""The same in coarser views, where neighbours melt into one object."""

LEAST_SIDE = 0.1
"""Of the image's; in the second view only objects above this count (root of the area), in the third above twice it."""

PART = 0.7
"""Share of an object's box that lies in the box of another: above it, the object is a part of the other."""


@dataclass(frozen=True)
class Objects:
    """All that is known of up to K objects in each of N images when a phrase is heard.

    Attributes:
        features: (N, K, C) of the cells of their peaks, normed.
        boxes: (N, K, 4) as in `Instances`.
        scores: (N, K) likewise, 0 where there is none.
    """

    features: Tensor
    boxes: Tensor
    scores: Tensor

    def at(self, slots: Tensor) -> Objects:
        """Those in slots (N, K') alone."""
        return Objects(
            features=gathered(self.features, slots),
            boxes=gathered(self.boxes, slots),
            scores=self.scores.gather(1, slots),
        )

    def parts(self) -> Tensor:
        """(N, K, K) bool: whether the box of the first of each two lies in that of the second, which may be itself."""
        inside = shared_area(self.boxes[:, :, None], self.boxes[:, None])
        found = self.scores > 0
        return (inside > PART * area(self.boxes)[:, :, None]) & found[:, :, None] & found[:, None]


@dataclass(frozen=True)
class Sighting:
    """What one view shows of N images.

    Attributes:
        objectness: (N, 1, h, w) logits that a cell shows an object of any kind.
        instances: single objects.
        objects: the same, as phrases are told of them.
    """

    objectness: Tensor
    instances: Instances
    objects: Objects

    def inside(self, target: Tensor) -> Tensor:
        """How much (B, K) of each instance lies in each of the targets (B, 1, S, S), 0 or 1; B/N about each image.

        What is surely the object counts for more. Targets are at least as fine as the objectness.
        """
        certain = per_phrase(self.objectness.sigmoid(), target.shape[0])
        covered = F.adaptive_avg_pool2d(target, (certain.shape[-2], certain.shape[-1]))
        instances = self.instances
        return instances.share(covered * certain) / instances.share(certain).clamp(min=SMALLEST)


@dataclass(frozen=True)
class Sightings:
    """What all views show of N images; K objects are kept of all that are seen.

    Attributes:
        views: one after the other, the finest first.
        slots: (N, K) which of the views' instances, counted through, are kept; the most certain first.
        objects: those.
    """

    views: tuple[Sighting, ...]
    slots: Tensor
    objects: Objects

    @classmethod
    def of(cls, views: Sequence[Sighting], *, count: int) -> Sightings:
        """Keep up to `count` objects: from coarser views those that are large and that no finer one shows whole."""
        everything = Objects(
            *(torch.cat([getattr(view.objects, name) for view in views], 1) for name in ("features", "boxes", "scores"))
        )
        if len(views) == 1:
            slots = torch.arange(everything.scores.shape[1], device=everything.scores.device)
            return cls(tuple(views), slots.expand(everything.scores.shape[0], -1), everything)
        scores = everything.scores * ~_needless(everything, [view.instances.count for view in views])
        scores, slots = scores.topk(min(count, scores.shape[1]), dim=1)
        return cls(tuple(views), slots, replace(everything.at(slots), scores=scores))

    def belonging(self, target: Tensor) -> Tensor:
        """How much (B, K) of each object lies in each target (B, 1, S, S), as `Sighting.inside`, over what it takes.

        Above 1 it belongs to the target. What is seen coarsely must lie there more plainly.
        """
        enough = [BELONGS] + [BELONGS_COARSELY] * (len(self.views) - 1)
        return self._kept([view.inside(target) / least for view, least in zip(self.views, enough, strict=True)])

    def covered(self, drawn: Sequence[Tensor]) -> Tensor:
        """How much (B, K) of each object is drawn in its own view, from the probabilities (B, 1, h, w) in each."""
        return self._kept([view.inside(each) for view, each in zip(self.views, drawn, strict=True)])

    def _kept(self, values: Sequence[Tensor]) -> Tensor:
        """Values (B, .) of each view's instances -> those of the K objects."""
        together = torch.cat(list(values), dim=1)
        return together.gather(1, per_phrase(self.slots, together.shape[0]))

    def spread(self, values: Tensor, nobody: float, *, repeated: bool = False) -> tuple[Tensor, ...]:
        """Values (B, K) of the objects -> (B, 1, h, w) of their cells in each view, else `nobody`.

        Args:
            values: B/N rows about each image.
            nobody: the least there can be.
            repeated: whether objects have cells in the coarser views, too, that show them again.
        """
        counts = [view.instances.count for view in self.views]
        if repeated:
            same = per_phrase(self._same(), values.shape[0])
            everything = torch.where(same, values[:, None], nobody).amax(-1)
        else:
            slots = per_phrase(self.slots, values.shape[0])
            everything = values.new_full((values.shape[0], sum(counts)), nobody).scatter(1, slots, values)
        return tuple(
            view.instances.spread(part, nobody)
            for view, part in zip(self.views, torch.split(everything, counts, dim=1), strict=True)
        )

    def _same(self) -> Tensor:
        """(N, ., K) bool: whether an instance of a view is one of the K objects."""
        boxes = torch.cat([view.instances.boxes for view in self.views], 1)
        scores = torch.cat([view.instances.scores for view in self.views], 1)
        there = (scores > 0) & ~_too_small(boxes, [view.instances.count for view in self.views])
        same = overlaps(boxes, self.objects.boxes) > SAME_OBJECT
        return same & there[:, :, None] & (self.objects.scores > 0)[:, None]


def _needless(objects: Objects, counts: Sequence[int]) -> Tensor:
    """(N, K) bool: of a coarser view, and small or seen by a finer one."""
    view = _view_of_each(counts).to(objects.scores.device)
    same = (overlaps(objects.boxes, objects.boxes) > SAME_OBJECT) & (objects.scores > 0)[:, None]
    return _too_small(objects.boxes, counts) | (same & (view[None, :] < view[:, None])).any(-1)


def _too_small(boxes: Tensor, counts: Sequence[int]) -> Tensor:
    """Which boxes (N, ., 4) of all views' instances (N, .) are too small to count in a view as coarse as theirs."""
    view = _view_of_each(counts).to(boxes.device)
    least_side = LEAST_SIDE * 2.0 ** (view - 1)
    return (view > 0) & (area(boxes) < least_side**2)


def _view_of_each(counts: Sequence[int]) -> Tensor:
    return torch.cat([torch.full((count,), number) for number, count in enumerate(counts)])


def gathered(values: Tensor, slots: Tensor) -> Tensor:
    """Rows (N, K', C) in slots (N, K') of values (N, K, C)."""
    return values.gather(1, slots[..., None].expand(-1, -1, values.shape[-1]))
