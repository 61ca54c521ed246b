"""What training minimises: the paper's mask losses, and helpers that make learning from few images possible."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.candidates import Survey
from refersat.models.hiera import per_phrase
from refersat.models.losses import boundary, cross_entropy, dice
from refersat.models.rs2sam2 import RS2Sam2Model, RS2Sam2Output
from refersat.training.recipe import LossOptions
from refersat.training.samples import Batch

FOREGROUND_WEIGHT = 4.0
"""Of the few cells of the pseudo-mask that the target touches."""


TINY = 1e-6
"""Square cells; keeps logarithms of empty boxes finite."""


class CategoryHead(nn.Module):
    """Says what every pixel shows from the trunk's maps: a teacher for the trunk, thrown away after training.

    A phrase teaches about its target only; this teaches about all objects of the view at once.
    """

    def __init__(self, widths: list[int], categories: int) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, categories + 1)) for width in widths
        )

    def forward(self, maps: tuple[Tensor, ...]) -> Tensor:
        """Maps (N, S/4, S/4, C), (N, S/8, S/8, 2C), ... -> logits (N, categories + 1, S/4, S/4)."""
        size = maps[0].shape[1:3]
        logits = [level(each).permute(0, 3, 1, 2) for level, each in zip(self.levels, maps, strict=True)]
        upsampled = [F.interpolate(each, size=size, mode="bilinear", align_corners=False) for each in logits]
        return torch.stack(upsampled).sum(0)


class Trainee(nn.Module):
    """The model with its training-only head, as one module so that gradients of both are shared between processes."""

    def __init__(self, model: RS2Sam2Model, categories: int, weights: LossOptions) -> None:
        super().__init__()
        self.model = model
        finder = model.candidates
        self.category_head = CategoryHead(
            model.trunk.image_map_widths if finder is None else [finder.width], categories
        )
        # The shortest way from a mask to the layers that bring phrase and image together.
        self.coarse_head = nn.Conv2d(model.config.hidden_size, 1, kernel_size=1)
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
            state = self.model.trunk.look(batch.pixel_values)
            if self.model.candidates is None:
                terms = {"categories": self._category_loss((*state.maps, state.features), batch)}
            else:
                terms = self._survey_terms(self.model.candidates.survey(state), batch)
        total = torch.stack([getattr(self.weights, name) * term for name, term in terms.items()]).sum()
        return total, {name: term.detach() for name, term in terms.items()}

    def _terms(self, output: RS2Sam2Output, batch: Batch) -> dict[str, Tensor]:
        assert output.logits is not None and output.presence_logits is not None
        assert output.image_embedding is not None and output.image_maps is not None
        coarse = self.coarse_head(output.image_embedding).float()
        coarse_target = F.adaptive_avg_pool2d(batch.target, coarse.shape[-2:])
        terms = {
            "cross_entropy": cross_entropy(output.logits, batch.target).mean(),
            # Where nothing is to be found, an overlap says nothing; cross-entropy alone keeps the mask empty.
            "dice": _mean_present(dice(output.logits, batch.target), batch.present),
            "presence": F.binary_cross_entropy_with_logits(output.presence_logits, batch.present),
            "coarse": cross_entropy(coarse, coarse_target).mean()
            + _mean_present(dice(coarse, coarse_target), batch.present),
            "named": F.cross_entropy(self.named_head(output.prompt_token).float(), batch.named),
        }
        found = output.candidates
        if found is None:
            terms["categories"] = self._category_loss(output.image_maps, batch)
        else:
            terms |= self._survey_terms(found.survey, batch)
            terms |= self._candidate_terms(found.logits, batch)
        if output.text_weight is not None:
            edges = boundary(output.logits, batch.target, output.text_weight, kind="soft")
            terms["boundary"] = _mean_present(edges, batch.present)
        if output.pseudo_mask_logits is not None:
            grid = output.pseudo_mask_logits.shape[-2:]
            terms["pseudo_mask"] = F.binary_cross_entropy_with_logits(
                output.pseudo_mask_logits.float(),
                F.adaptive_max_pool2d(batch.target, grid),
                pos_weight=torch.tensor(FOREGROUND_WEIGHT, device=batch.target.device),
            )
        return terms

    def _category_loss(self, maps: tuple[Tensor, ...], batch: Batch) -> Tensor:
        losses = F.cross_entropy(self.category_head(maps).float(), batch.labels, reduction="none")
        return (batch.label_weights * losses).sum() / batch.label_weights.sum()

    def _survey_terms(self, survey: Survey, batch: Batch) -> dict[str, Tensor]:
        weights = batch.label_weights * (batch.labels > 0)
        return {
            "categories": self._category_loss((survey.features.permute(0, 2, 3, 1),), batch),
            "edges": (weights * _box_loss(survey.edges, batch.edges)).sum() / weights.sum().clamp(min=1),
        }

    def _candidate_terms(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        labels = per_phrase(batch.labels, len(logits))
        weights = per_phrase(batch.label_weights, len(logits))[:, None]
        kind = (labels == 1 + batch.named[:, None, None])[:, None].float()
        losses = F.binary_cross_entropy_with_logits(logits, kind, reduction="none")
        terms = {"candidates": (weights * losses).sum() / weights.sum()}
        if self.weights.candidate_dice:
            overlap = dice((logits + 1) / 2, kind)  # a plain sigmoid in the terms of a two-class logit
            terms["candidate_dice"] = _mean_present(overlap, kind.amax(dim=(1, 2, 3)))
        return terms


def _box_loss(edges: Tensor, target: Tensor) -> Tensor:
    """-ln IoU (N, H, W) of boxes, each given by the distances (N, 4, H, W) of its edges from one point inside both.

    Source: UnitBox (Yu et al., ACM Multimedia 2016), algorithm 1.
    """
    shared = torch.minimum(edges, target)
    intersection = (shared[:, 0] + shared[:, 2]) * (shared[:, 1] + shared[:, 3])
    areas = [(each[:, 0] + each[:, 2]) * (each[:, 1] + each[:, 3]) for each in (edges, target)]
    return (areas[0] + areas[1] - intersection).clamp(min=TINY).log() - intersection.clamp(min=TINY).log()


def _mean_present(loss: Tensor, present: Tensor) -> Tensor:
    return (loss * present).sum() / present.sum().clamp(min=1)
