"""What training minimises: the paper's mask losses, and helpers that make learning from few images possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.beit3 import UnionEncoderLayer
from refersat.models.candidates import Survey
from refersat.models.hiera import FusedBlock, per_phrase
from refersat.models.losses import boundary, cross_entropy, dice
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.models.rs2sam2_output import RS2Sam2Output
from refersat.models.selection import Selection
from refersat.training.batch import UNNAMED, AnyBatch, Batch
from refersat.training.heads import CategoryHead, category_loss
from refersat.training.layout_sampler import LayoutBatch
from refersat.training.recipe import LossOptions
from refersat.training.refiner_sampler import RefinerBatch
from refersat.training.trainee import AnyTrainee

FOREGROUND_WEIGHT = 4.0
"""Of the few cells of the pseudo-mask that the target touches."""

SMALLEST_TARGET = 50.0
"""Pixels; smaller ones count as so many."""

WRONG_PIXELS = 0.3
"""Weight of cross-entropy beside overlap in a refiner's loss."""

MOST_WRONG = 5.0
"""Times the object, in cross-entropy; a mask that is altogether elsewhere teaches no more than that."""

TINY = 1e-6
"""Square cells; keeps logarithms of empty boxes finite."""


@dataclass(frozen=True)
class Totals:
    """What the means of the losses divide by: sums over the whole batch of a step, however many work it off in parts.

    All are float scalars: `phrases`, `present` (those that name something), `kinds` (those whose kind is in the view),
    `label_weights` and `object_weights` (those of cells that show an object).
    """

    phrases: Tensor
    present: Tensor
    kinds: Tensor
    label_weights: Tensor
    object_weights: Tensor

    @classmethod
    def of(cls, batches: Sequence[AnyBatch]) -> Totals:
        """The sums over parts of a batch."""
        return cls.from_stacked(torch.stack([_amounts(batch) for batch in batches]).sum(0))

    def stacked(self) -> Tensor:
        """All in one tensor (5,), to add up between processes."""
        return torch.stack([self.phrases, self.present, self.kinds, self.label_weights, self.object_weights])

    @classmethod
    def from_stacked(cls, values: Tensor) -> Totals:
        """What `stacked` was made of."""
        return cls(*values.unbind())


class Trainee(AnyTrainee):
    """RS2-SAM 2 with its losses; see `AnyTrainee`.

    Args:
        model: what is trained.
        categories: of the outlined objects; None where there are no outlines.
        weights: of the loss terms.
    """

    shards = (FusedBlock, UnionEncoderLayer)
    model: RS2Sam2Model

    def __init__(self, model: RS2Sam2Model, categories: int | None, weights: LossOptions) -> None:
        super().__init__()
        self.model = model
        self.category_head: CategoryHead | None = None
        self.coarse_head: nn.Conv2d | None = None
        self.named_head: nn.Linear | None = None
        width = model.config.hidden_size
        if categories is not None and weights.categories:
            finder = model.candidates
            self.category_head = CategoryHead(
                model.trunk.image_map_widths if finder is None else [finder.width], categories
            )
        if weights.coarse:
            # The shortest way from a mask to the layers that bring phrase and image together.
            self.coarse_head = nn.Conv2d(width, 1, kernel_size=1)
        if categories is not None and weights.named:
            # Makes the prompt token depend on the phrase early: from masks alone, the model first learns to ignore it.
            self.named_head = nn.Linear(width, categories)
        self.weights = weights

    def forward(
        self, batch: Batch | LayoutBatch | RefinerBatch, totals: Totals | None = None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """See `AnyTrainee.forward`."""
        if totals is None:
            totals = Totals.of([batch])
        own: dict[str, Tensor] = {}
        if isinstance(batch, LayoutBatch):
            assert self.model.selector is not None
            logits = self.model.selector.choose(batch.objects, batch.input_ids, batch.attention_mask)
            own["selection"] = choice_loss(logits, batch.meant)
            terms = {"selection": own["selection"].sum() / totals.phrases}
        elif isinstance(batch, RefinerBatch):
            assert self.model.refiner is not None
            logits = self.model.refiner(batch.drawn, self.model.refiner.look(batch.pixels, batch.features))
            own["refinement"] = refinement_loss(logits, batch.target)
            terms = {"refinement": own["refinement"].sum() / totals.phrases}
        elif len(batch.input_ids):
            output: RS2Sam2Output = self.model(
                batch.pixel_values, batch.union_pixel_values, batch.input_ids, batch.attention_mask, decoded_alone=True
            )
            terms, own = self._terms(output, batch, totals)
        else:
            assert self.category_head is not None
            state = self.model.trunk.look(batch.pixel_values)
            finder = self.model.candidates
            survey = None if finder is None else finder.survey(state)
            terms = self._outline_terms((*state.maps, state.features), survey, batch, totals)
        total = torch.stack([getattr(self.weights, name) * term for name, term in terms.items()]).sum()
        return (
            total,
            {name: term.detach() for name, term in terms.items()},
            {name: term.detach() for name, term in own.items()},
        )

    def _terms(
        self, output: RS2Sam2Output, batch: Batch, totals: Totals
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The terms, and those that each phrase has of its own (B,); where it names nothing, some mean nothing.

        The decoder learns by what it draws itself: what the selector leaves out, it would learn to leave to it.
        """
        assert output.decoded_logits is not None and output.object_score_logits is not None
        terms: dict[str, Tensor] = {}
        own: dict[str, Tensor] = {}
        share = len(batch.input_ids) / totals.phrases

        def mean(loss: Tensor) -> Tensor:
            return loss.sum() / totals.phrases

        def mean_present(loss: Tensor) -> Tensor:
            return (loss * batch.present).sum() / totals.present.clamp(min=1)

        own["cross_entropy"] = cross_entropy(output.decoded_logits, batch.target)
        terms["cross_entropy"] = mean(own["cross_entropy"])
        # Where nothing is to be found, an overlap says nothing; cross-entropy alone keeps the mask empty.
        own["dice"] = dice(output.decoded_logits, batch.target)
        terms["dice"] = mean_present(own["dice"])
        if self.weights.presence:
            logits = output.object_score_logits
            own["presence"] = F.binary_cross_entropy_with_logits(logits, batch.present, reduction="none")
            terms["presence"] = share * F.binary_cross_entropy_with_logits(logits, batch.present)
        if self.coarse_head is not None:
            assert output.image_embedding is not None
            coarse = self.coarse_head(output.image_embedding).float()
            coarse_target = F.adaptive_avg_pool2d(batch.target, coarse.shape[-2:])
            terms["coarse"] = mean(cross_entropy(coarse, coarse_target)) + mean_present(dice(coarse, coarse_target))
        if batch.labels is not None:
            found = output.candidates
            assert output.image_maps is not None
            terms |= self._outline_terms(output.image_maps, None if found is None else found.survey, batch, totals)
            if found is not None:
                terms |= self._candidate_terms(found.logits, batch, totals)
        if output.selection is not None:
            selected, own_selected = self._selection_terms(output.selection, batch, totals)
            terms |= selected
            own |= own_selected
        if self.named_head is not None:
            assert batch.named is not None
            kinds = self.named_head(output.prompt_token).float()
            terms["named"] = mean(F.cross_entropy(kinds, batch.named, ignore_index=UNNAMED, reduction="none"))
        if output.text_weight is not None:
            kind = self.weights.boundary_kind
            own["boundary"] = boundary(output.decoded_logits, batch.target, output.text_weight, kind=kind)
            terms["boundary"] = mean_present(own["boundary"])
        if output.pseudo_mask_logits is not None and self.weights.pseudo_mask:
            grid = output.pseudo_mask_logits.shape[-2:]
            terms["pseudo_mask"] = share * F.binary_cross_entropy_with_logits(
                output.pseudo_mask_logits.float(),
                F.adaptive_max_pool2d(batch.target, grid),
                pos_weight=torch.tensor(FOREGROUND_WEIGHT, device=batch.target.device),
            )
        return terms, own

    def _outline_terms(
        self, maps: tuple[Tensor, ...], survey: Survey | None, batch: Batch, totals: Totals
    ) -> dict[str, Tensor]:
        """What is to be said of the views, whatever the phrases: the kind of every cell, and how far its edges are."""
        assert batch.labels is not None and batch.label_weights is not None and batch.edges is not None
        terms: dict[str, Tensor] = {}
        if self.category_head is not None:
            shown = maps if survey is None else (survey.features.permute(0, 2, 3, 1),)
            terms["categories"] = category_loss(self.category_head(shown), batch) / totals.label_weights
        if survey is not None and self.weights.edges:
            losses = _object_weights(batch) * _box_loss(survey.edges, batch.edges)
            terms["edges"] = losses.sum() / totals.object_weights.clamp(min=1)
        return terms

    def _selection_terms(
        self, selection: Selection, batch: Batch, totals: Totals
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What shows an object, and which objects are meant: those that lie mostly in the target."""
        terms: dict[str, Tensor] = {}
        own: dict[str, Tensor] = {}
        if batch.labels is not None and self.weights.objects:
            assert batch.label_weights is not None
            shown = (batch.labels > 0)[:, None].float()
            losses = F.binary_cross_entropy_with_logits(selection.objectness, shown, reduction="none")
            terms["objects"] = (batch.label_weights[:, None] * losses).sum() / totals.label_weights
        if self.weights.selection:
            own["selection"] = choice_loss(selection.logits, selection.meant(batch.target).float())
            terms["selection"] = own["selection"].sum() / totals.phrases
        return terms, own

    def _candidate_terms(self, logits: Tensor, batch: Batch, totals: Totals) -> dict[str, Tensor]:
        assert batch.label_weights is not None
        kind = _kinds(batch)
        terms: dict[str, Tensor] = {}
        if self.weights.candidates:
            weights = per_phrase(batch.label_weights, len(logits))[:, None]
            losses = weights * F.binary_cross_entropy_with_logits(logits, kind, reduction="none")
            phrases_per_view = len(logits) // len(batch.label_weights)
            terms["candidates"] = losses.sum() / (totals.label_weights * phrases_per_view)
        if self.weights.candidate_dice:
            overlap = dice((logits + 1) / 2, kind)  # a plain sigmoid in the terms of a two-class logit
            terms["candidate_dice"] = (overlap * kind.amax(dim=(1, 2, 3))).sum() / totals.kinds.clamp(min=1)
        return terms


def choice_loss(logits: Tensor, meant: Tensor) -> Tensor:
    """Cross-entropy (B,) of the logits (B, K) that objects are meant, for each that is."""
    losses = F.binary_cross_entropy_with_logits(logits, meant, reduction="none")
    return losses.sum(1) / meant.sum(1).clamp(min=1)


def refinement_loss(logits: Tensor, target: Tensor) -> Tensor:
    """How far masks in pixels are from their targets, both (B, 1, H, W): what is wrong, as a share of the object, (B,).

    Small objects count as much as large ones. Beside the overlap, which is measured in the end, cross-entropy teaches
    masks that are far off.
    """
    probability = logits.sigmoid()
    shared, either = (probability * target).flatten(1).sum(1), torch.maximum(probability, target).flatten(1).sum(1)
    wrong = F.binary_cross_entropy_with_logits(logits, target, reduction="none").flatten(1).sum(1)
    size = target.flatten(1).sum(1).clamp(min=SMALLEST_TARGET)
    return 1 - (shared + 1) / (either + 1) + WRONG_PIXELS * (wrong / size).clamp(max=MOST_WRONG)


def _amounts(batch: AnyBatch) -> Tensor:
    """What a batch adds to each of the `Totals`."""
    phrases, none = batch.present.new_tensor(float(len(batch.input_ids))), batch.present.new_tensor(0.0)
    if batch.label_weights is None:
        return torch.stack([phrases, batch.present.sum(), none, none, none])
    kinds = _kinds(batch).amax(dim=(1, 2, 3)).sum() if len(batch.input_ids) else none
    return torch.stack([phrases, batch.present.sum(), kinds, batch.label_weights.sum(), _object_weights(batch).sum()])


def _kinds(batch: AnyBatch) -> Tensor:
    """(B, 1, S/4, S/4): 1 where the view shows the kind that the phrase names, any kind for a name of none."""
    assert batch.labels is not None and batch.named is not None
    labels, named = per_phrase(batch.labels, len(batch.named)), batch.named[:, None, None]
    return torch.where(named == UNNAMED, labels > 0, labels == 1 + named)[:, None].float()


def _object_weights(batch: AnyBatch) -> Tensor:
    assert batch.labels is not None and batch.label_weights is not None
    return batch.label_weights * (batch.labels > 0)


def _box_loss(edges: Tensor, target: Tensor) -> Tensor:
    """-ln IoU (N, H, W) of boxes, each given by the distances (N, 4, H, W) of its edges from one point inside both.

    Source: UnitBox (Yu et al., ACM Multimedia 2016), algorithm 1.
    """
    shared = torch.minimum(edges, target)
    intersection = (shared[:, 0] + shared[:, 2]) * (shared[:, 1] + shared[:, 3])
    areas = [(each[:, 0] + each[:, 2]) * (each[:, 1] + each[:, 3]) for each in (edges, target)]
    return (areas[0] + areas[1] - intersection).clamp(min=TINY).log() - intersection.clamp(min=TINY).log()
