"""What a grounder's training minimises: the paper's losses after every decoder layer, and helpers for few images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.deformable_detr.modeling_deformable_detr import (
    DeformableDetrDecoderLayer,
    DeformableDetrEncoderLayer,
)
from transformers.models.roberta.modeling_roberta import RobertaLayer

from refersat.models.grounding.boxes import overlaps, to_corners
from refersat.models.grounding.losses import Weights, grounding_losses
from refersat.models.grounding.matching import match
from refersat.models.grounding.model import GroundingModel, GroundingOutput
from refersat.models.hiera import per_phrase
from refersat.training.grounding.batch import GroundingBatch
from refersat.training.heads import CategoryHead, category_loss
from refersat.training.layout_sampler import LayoutBatch
from refersat.training.objective import Totals, choice_loss
from refersat.training.recipe import LossOptions
from refersat.training.trainee import AnyTrainee

TERMS = ("focal", "box", "giou")


class GroundingTrainee(AnyTrainee):
    """A grounder with its losses; see `AnyTrainee`.

    Args:
        model: what is trained.
        categories: of the outlined objects; None where there are no outlines.
        weights: of `categories` and `named`, which help where images are few.
        box_weights: of the papers' losses, and of the matching.
    """

    shards = (DeformableDetrEncoderLayer, DeformableDetrDecoderLayer, RobertaLayer)
    model: GroundingModel

    def __init__(
        self, model: GroundingModel, categories: int | None, weights: LossOptions, box_weights: Weights
    ) -> None:
        super().__init__()
        self.model = model
        self.weights = weights
        self.box_weights = box_weights
        self.category_head: CategoryHead | None = None
        self.named_head: nn.Linear | None = None
        if categories is not None and weights.categories and model.config.image_network != "eye":  # which knows already
            self.category_head = CategoryHead(model.config.image_widths, categories)
        if categories is not None and weights.named:
            self.named_head = nn.Linear(model.config.hidden_size, categories)

    def forward(
        self, batch: GroundingBatch | LayoutBatch, totals: Totals | None = None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """See `AnyTrainee.forward`."""
        if totals is None:
            totals = Totals.of([batch])
        if isinstance(batch, LayoutBatch):
            return self._selection(batch, totals)
        maps = batch.maps or self.model.look(batch.pixel_values)
        terms: dict[str, Tensor] = {}
        own: dict[str, Tensor] = {}
        if self.category_head is not None and batch.labels is not None:
            shown = tuple(level.permute(0, 2, 3, 1) for level in maps)
            terms["categories"] = category_loss(self.category_head(shown), batch) / totals.label_weights
        if len(batch.input_ids):
            output = self.model.ground(maps, batch.valid, batch.input_ids, batch.attention_mask, batch.objects)
            own = self._own_terms(output, batch)
            terms["focal"] = own["focal"].sum() / totals.phrases
            terms["box"], terms["giou"] = (own[name].sum() / totals.present.clamp(min=1) for name in ("box", "giou"))
            if batch.own_boxes is not None:
                terms["objects"] = self._box_terms(output, batch.own_boxes)
            if self.named_head is not None and batch.named is not None:
                losses = F.cross_entropy(self.named_head(output.sentence).float(), batch.named, reduction="sum")
                terms["named"] = losses / totals.phrases
        total = torch.stack([self._weight(name) * term for name, term in terms.items()]).sum()
        return (
            total,
            {name: term.detach() for name, term in terms.items()},
            {name: term.detach() for name, term in own.items()},
        )

    def _selection(self, batch: LayoutBatch, totals: Totals) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Which objects are meant: what queries begin with."""
        assert self.model.selector is not None
        logits = self.model.selector.choose(batch.objects, batch.input_ids, batch.attention_mask)
        own = choice_loss(logits, batch.meant)
        term = own.sum() / totals.phrases
        return self.weights.selection * term, {"selection": term.detach()}, {"selection": own.detach()}

    def _weight(self, name: str) -> float:
        weight: float = getattr(self.box_weights if name in TERMS else self.weights, name)
        return weight

    def _box_terms(self, output: GroundingOutput, own: Tensor) -> Tensor:
        """How far the boxes of queries that begin with objects are from these, whatever the phrase, per object."""
        assert output.query_boxes is not None
        own = per_phrase(own, output.query_boxes.shape[1])
        known = own[..., 2] > 0
        losses = []
        for boxes in output.query_boxes:
            found, target = boxes[:, : own.shape[1]][known], own[known]
            _, giou = overlaps(to_corners(found), to_corners(target))
            distance = (found - target).abs().sum(-1)
            losses.append((self.box_weights.box * distance + self.box_weights.giou * (1 - giou)).sum())
        return torch.stack(losses).sum() / known.sum().clamp(min=1)

    def _own_terms(self, output: GroundingOutput, batch: GroundingBatch) -> dict[str, Tensor]:
        """The three losses of each phrase (B,), added up over the decoder's layers, each with a matching of its own."""
        assert output.query_logits is not None and output.query_boxes is not None
        targets, there = batch.boxes, batch.there
        layers = []
        for logits, boxes in zip(output.query_logits, output.query_boxes, strict=True):
            chosen = match(logits, boxes, targets, there, self.box_weights)
            layers.append(torch.stack(grounding_losses(logits, boxes, targets, there, chosen)))
        return dict(zip(TERMS, torch.stack(layers).sum(0), strict=True))
