"""What training minimises: the paper's mask losses, and helpers that make learning from few images possible."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.losses import boundary, cross_entropy, dice
from refersat.models.rs2sam2 import RS2Sam2Model, RS2Sam2Output
from refersat.training.recipe import LossOptions
from refersat.training.samples import Batch

FOREGROUND_WEIGHT = 4.0
"""Of the few cells of the pseudo-mask that the target touches."""


class CategoryHead(nn.Module):
    """Says what every pixel shows from the neck's features: a teacher for the trunk, thrown away after training.

    A phrase teaches about its target only; this teaches about all objects of the view at once.
    """

    def __init__(self, width: int, categories: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(nn.Conv2d(width, categories + 1, kernel_size=1) for _ in range(3))

    def forward(self, features: tuple[Tensor, ...]) -> Tensor:
        """Features at strides 4, 8 and 16 -> logits (B, categories + 1, S/4, S/4)."""
        size = features[0].shape[-2:]
        maps = [level(feature) for level, feature in zip(self.levels, features, strict=True)]
        upsampled = [F.interpolate(m, size=size, mode="bilinear", align_corners=False) for m in maps]
        return torch.stack(upsampled).sum(0)


class Trainee(nn.Module):
    """The model with its training-only head, as one module so that gradients of both are shared between processes."""

    def __init__(self, model: RS2Sam2Model, categories: int, weights: LossOptions) -> None:
        super().__init__()
        self.model = model
        self.category_head = CategoryHead(model.config.hidden_size, categories)
        # Makes the prompt token depend on the phrase early: from masks alone, the model first learns to ignore it.
        self.named_head = nn.Linear(model.config.hidden_size, categories)
        self.weights = weights

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted loss (scalar) and its terms before weighting (scalars, detached)."""
        if len(batch.input_ids):
            output: RS2Sam2Output = self.model(
                batch.pixel_values, batch.union_pixel_values, batch.input_ids, batch.attention_mask
            )
            terms = self._terms(output, batch)
        else:
            terms = {"categories": self._category_loss(self.model.image_features(batch.pixel_values), batch)}
        total = torch.stack([getattr(self.weights, name) * term for name, term in terms.items()]).sum()
        return total, {name: term.detach() for name, term in terms.items()}

    def _terms(self, output: RS2Sam2Output, batch: Batch) -> dict[str, Tensor]:
        assert output.logits is not None and output.presence_logits is not None and output.features is not None
        terms = {
            "cross_entropy": cross_entropy(output.logits, batch.target).mean(),
            # Where nothing is to be found, an overlap says nothing; cross-entropy alone keeps the mask empty.
            "dice": _mean_present(dice(output.logits, batch.target), batch.present),
            "presence": F.binary_cross_entropy_with_logits(output.presence_logits, batch.present),
            "categories": self._category_loss(output.features, batch),
            "named": F.cross_entropy(self.named_head(output.prompt_token), batch.named),
        }
        if output.text_weight is not None:
            edges = boundary(output.logits, batch.target, output.text_weight, kind="soft")
            terms["boundary"] = _mean_present(edges, batch.present)
        if output.pseudo_mask_logits is not None:
            grid = output.pseudo_mask_logits.shape[-2:]
            terms["pseudo_mask"] = F.binary_cross_entropy_with_logits(
                output.pseudo_mask_logits,
                F.adaptive_max_pool2d(batch.target, grid),
                pos_weight=torch.tensor(FOREGROUND_WEIGHT, device=batch.target.device),
            )
        return terms

    def _category_loss(self, features: tuple[Tensor, ...], batch: Batch) -> Tensor:
        logits = self.category_head(features)
        repeats = len(logits) // len(batch.labels)
        labels = batch.labels.repeat_interleave(repeats, 0)
        weights = batch.label_weights.repeat_interleave(repeats, 0)
        return (weights * F.cross_entropy(logits, labels, reduction="none")).sum() / weights.sum()


def _mean_present(loss: Tensor, present: Tensor) -> Tensor:
    return (loss * present).sum() / present.sum().clamp(min=1)
