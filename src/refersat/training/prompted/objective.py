"""What training a promptable network minimises: cross-entropy and overlap of masks, and how sure it should be."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from refersat.models.prompted.compact import CompactSamModel, Drawn
from refersat.models.prompted.segmenter import PromptedSegmenter
from refersat.training.objective import Totals
from refersat.training.prompted.batch import PromptBatch
from refersat.training.recipe import LossOptions
from refersat.training.trainee import AnyTrainee

SMALLEST = 16.0
"""Pixels of a box; fewer count as so many."""

SMOOTH = 1.0


class PromptedTrainee(AnyTrainee):
    """A promptable network of any make with its losses; it gets the box and the point of each target.

    Args:
        segmenter: the network that is trained.
        weights: of the loss terms.
    """

    def __init__(self, segmenter: PromptedSegmenter, weights: LossOptions) -> None:
        super().__init__()
        self.model = segmenter.network
        self.weights = weights
        self._segmenter = segmenter

    def forward(
        self, batch: PromptBatch, totals: Totals | None = None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """See `AnyTrainee.forward`; views are looked at one by one, for their sizes may differ."""
        each = len(batch.boxes) // len(batch.pixels)
        logits = []
        for number, pixels in enumerate(batch.pixels):
            mine = slice(number * each, (number + 1) * each)
            # Half of the prompts are a box alone: those who use the network may have no point.
            points = batch.points[mine] if number % 2 else None
            logits.append(self._segmenter.segment(self._segmenter.see(pixels), batch.boxes[mine], points))
        return weighed(mask_terms(torch.cat(logits), batch), self.weights, totals or Totals.of([batch]))


class CompactSamTrainee(AnyTrainee):
    """The compact SAM 2 with its losses, on what its eye has seen.

    Of the prompts about a view the first half are boxes, a quarter boxes with a point, the rest points, which are asked
    once more with the mask that they gave.

    Args:
        model: what is trained.
        weights: of the loss terms.
    """

    model: CompactSamModel

    def __init__(self, model: CompactSamModel, weights: LossOptions) -> None:
        super().__init__()
        self.model = model
        self.weights = weights

    def forward(
        self, batch: PromptBatch, totals: Totals | None = None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """See `AnyTrainee.forward`."""
        assert batch.sight is not None
        views = len(batch.sight.fine)
        levels = self.model.levels(batch.sight)
        half, quarter = _shares(len(batch.boxes) // views)
        boxes, points, target = (each.unflatten(0, (views, -1)) for each in (batch.boxes, batch.points, batch.target))

        def asked(values: Tensor, part: slice) -> Tensor:
            return values[:, part].flatten(0, 1)

        kinds = slice(0, half), slice(half, half + quarter), slice(half + quarter, None)
        drawn: list[tuple[Drawn, Tensor]] = []
        for kind, with_box, with_point in zip(kinds, (True, True, False), (False, True, True), strict=True):
            if not boxes[:, kind].numel():
                continue
            found = self.model.draw(
                levels,
                boxes=asked(boxes, kind) if with_box else None,
                points=asked(points, kind) if with_point else None,
            )
            drawn.append((found, asked(target, kind)))
        again = self.model.draw(levels, points=asked(points, kinds[2]), masks=drawn[-1][0].logits.detach())
        drawn.append((again, drawn[-1][1]))
        per_prompt = [_terms(each.logits, truth, ious=each.ious) for each, truth in drawn]
        own = {name: torch.cat([terms[name] for terms in per_prompt]) for name in per_prompt[0]}
        # The points' are counted twice.
        share = len(batch.boxes) / len(own["dice"])
        terms = {name: loss.sum() * share for name, loss in own.items()}
        count = (totals or Totals.of([batch])).phrases
        terms = {name: loss / count for name, loss in terms.items()}
        total = torch.stack([getattr(self.weights, name) * term for name, term in terms.items()]).sum()
        return total, {name: term.detach() for name, term in terms.items()}, {}


def _shares(prompts: int) -> tuple[int, int]:
    """How many of the prompts about a view are boxes alone, and boxes with points; one at least is a point."""
    quarter = prompts // 4
    return min(prompts - 1, prompts - 2 * quarter), quarter


def mask_terms(logits: Tensor, batch: PromptBatch) -> dict[str, Tensor]:
    """The terms (B,) of logits (B, h, w) that stretch over views; 0 where the target is nowhere."""
    there = batch.target.flatten(1).any(1).float()
    return {name: loss * there for name, loss in _terms(logits, batch.target).items()}


def weighed(
    own: dict[str, Tensor], weights: LossOptions, totals: Totals
) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
    """The weighted loss, its terms, and those of each target."""
    terms = {name: loss.sum() / totals.phrases for name, loss in own.items()}
    total = torch.stack([getattr(weights, name) * term for name, term in terms.items()]).sum()
    return total, {name: term.detach() for name, term in terms.items()}, {n: each.detach() for n, each in own.items()}


def _terms(logits: Tensor, target: Tensor, ious: Tensor | None = None) -> dict[str, Tensor]:
    """Losses (B,) of logits (B, h, w) against targets (B, T, T): small objects count as much as large ones."""
    fine = F.interpolate(logits[:, None].float(), size=target.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    area = target.flatten(1).sum(1)
    wrong = F.binary_cross_entropy_with_logits(fine, target, reduction="none").flatten(1).sum(1)
    probability = fine.sigmoid()
    shared = (probability * target).flatten(1).sum(1)
    terms = {
        "cross_entropy": wrong / area.clamp(min=SMALLEST),
        "dice": 1 - (2 * shared + SMOOTH) / (probability.flatten(1).sum(1) + area + SMOOTH),
    }
    if ious is not None:
        with torch.no_grad():
            mask, truth = fine > 0, target > 0
            union = (mask | truth).flatten(1).sum(1).clamp(min=1)
            truth_iou = (mask & truth).flatten(1).sum(1) / union
        terms["mask_iou"] = (ious - truth_iou).square()
    return terms
