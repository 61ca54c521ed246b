"""What training minimises: the paper's mask losses, and helpers that make learning from few images possible."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.losses import boundary, cross_entropy, dice
from refersat.models.rs2sam2 import RS2Sam2Model, RS2Sam2Output
from refersat.training.batch import Batch
from refersat.training.heads import CategoryHead
from refersat.training.recipe import LossOptions

FOREGROUND_WEIGHT = 4.0
"""Of the few cells of the pseudo-mask that the target touches."""


@dataclass(frozen=True)
class Totals:
    """What the means of the losses divide by: sums over the whole batch of a step, however many work it off in parts.

    `phrases`, `present` (those that name something) and `label_weights` are float scalars.
    """

    phrases: Tensor
    present: Tensor
    label_weights: Tensor

    @classmethod
    def of(cls, batches: Sequence[Batch]) -> Totals:
        """The sums over parts of a batch."""
        weights = [batch.label_weights for batch in batches if batch.label_weights is not None]
        return cls(
            phrases=torch.tensor(float(sum(len(batch.input_ids) for batch in batches))),
            present=torch.stack([batch.present.sum() for batch in batches]).sum(),
            label_weights=torch.stack([each.sum() for each in weights]).sum() if weights else torch.tensor(0.0),
        )

    def stacked(self) -> Tensor:
        """All in one tensor (3,), to add up between processes."""
        return torch.stack([self.phrases, self.present, self.label_weights])

    @classmethod
    def from_stacked(cls, values: Tensor) -> Totals:
        """What `stacked` was made of."""
        return cls(*values.unbind())


class Trainee(nn.Module):
    """The model with its training-only heads, as one module so that all gradients are shared between processes.

    Args:
        model: what is trained.
        categories: of the outlined objects; None where there are no outlines.
        weights: of the loss terms.
    """

    def __init__(self, model: RS2Sam2Model, categories: int | None, weights: LossOptions) -> None:
        super().__init__()
        self.model = model
        self.category_head: CategoryHead | None = None
        self.coarse_head: nn.Conv2d | None = None
        self.named_head: nn.Linear | None = None
        width = model.config.hidden_size
        if categories is not None and weights.categories:
            self.category_head = CategoryHead(model.trunk.image_map_widths, categories)
        if weights.coarse:
            # The shortest way from a mask to the layers that bring phrase and image together.
            self.coarse_head = nn.Conv2d(width, 1, kernel_size=1)
        if categories is not None and weights.named:
            # Makes the prompt token depend on the phrase early: from masks alone, the model first learns to ignore it.
            self.named_head = nn.Linear(width, categories)
        self.weights = weights

    def forward(
        self, batch: Batch, totals: Totals | None = None
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """The losses of a batch, or of a part of the batch that `totals` are of.

        Returns:
            The weighted loss (scalar), its terms before weighting (scalars, detached), and for each of the B phrases
            the terms that it has of its own (B,), detached. Added up over all parts, loss and terms are those of the
            whole batch.
        """
        if totals is None:
            totals = Totals.of([batch])
        own: dict[str, Tensor] = {}
        if len(batch.input_ids):
            output: RS2Sam2Output = self.model(
                batch.pixel_values, batch.union_pixel_values, batch.input_ids, batch.attention_mask
            )
            terms, own = self._terms(output, batch, totals)
        else:
            assert self.category_head is not None
            state = self.model.trunk.look(batch.pixel_values)
            terms = {"categories": self._category_loss((*state.maps, state.features), batch, totals)}
        total = torch.stack([getattr(self.weights, name) * term for name, term in terms.items()]).sum()
        return (
            total,
            {name: term.detach() for name, term in terms.items()},
            {name: term.detach() for name, term in own.items()},
        )

    def _terms(
        self, output: RS2Sam2Output, batch: Batch, totals: Totals
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The terms, and those that each phrase has of its own (B,); where it names nothing, some mean nothing."""
        assert output.logits is not None and output.presence_logits is not None
        terms: dict[str, Tensor] = {}
        own: dict[str, Tensor] = {}
        share = len(batch.input_ids) / totals.phrases

        def mean(loss: Tensor) -> Tensor:
            return loss.sum() / totals.phrases

        def mean_present(loss: Tensor) -> Tensor:
            return (loss * batch.present).sum() / totals.present.clamp(min=1)

        own["cross_entropy"] = cross_entropy(output.logits, batch.target)
        terms["cross_entropy"] = mean(own["cross_entropy"])
        # Where nothing is to be found, an overlap says nothing; cross-entropy alone keeps the mask empty.
        own["dice"] = dice(output.logits, batch.target)
        terms["dice"] = mean_present(own["dice"])
        if self.weights.presence:
            logits = output.presence_logits
            own["presence"] = F.binary_cross_entropy_with_logits(logits, batch.present, reduction="none")
            terms["presence"] = share * F.binary_cross_entropy_with_logits(logits, batch.present)
        if self.coarse_head is not None:
            assert output.image_embedding is not None
            coarse = self.coarse_head(output.image_embedding).float()
            coarse_target = F.adaptive_avg_pool2d(batch.target, coarse.shape[-2:])
            terms["coarse"] = mean(cross_entropy(coarse, coarse_target)) + mean_present(dice(coarse, coarse_target))
        if self.category_head is not None:
            assert output.image_maps is not None
            terms["categories"] = self._category_loss(output.image_maps, batch, totals)
        if self.named_head is not None:
            assert batch.named is not None
            terms["named"] = share * F.cross_entropy(self.named_head(output.prompt_token).float(), batch.named)
        if output.text_weight is not None:
            kind = self.weights.boundary_kind
            own["boundary"] = boundary(output.logits, batch.target, output.text_weight, kind=kind)
            terms["boundary"] = mean_present(own["boundary"])
        if output.pseudo_mask_logits is not None and self.weights.pseudo_mask:
            grid = output.pseudo_mask_logits.shape[-2:]
            terms["pseudo_mask"] = share * F.binary_cross_entropy_with_logits(
                output.pseudo_mask_logits.float(),
                F.adaptive_max_pool2d(batch.target, grid),
                pos_weight=torch.tensor(FOREGROUND_WEIGHT, device=batch.target.device),
            )
        return terms, own

    def _category_loss(self, maps: tuple[Tensor, ...], batch: Batch, totals: Totals) -> Tensor:
        assert self.category_head is not None and batch.labels is not None and batch.label_weights is not None
        losses = F.cross_entropy(self.category_head(maps).float(), batch.labels, reduction="none")
        return (batch.label_weights * losses).sum() / totals.label_weights
