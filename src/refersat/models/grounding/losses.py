"""What a grounder is trained to minimise: focal loss of the scores, and L1 and GIoU losses of the boxes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from refersat.models.grounding.boxes import overlaps, to_corners

ALPHA = 0.25
GAMMA = 2.0


@dataclass(frozen=True)
class Weights:
    """Of the three losses, and of the same three costs in the matching."""

    focal: float = 2.0
    box: float = 5.0
    giou: float = 2.0


def focal_terms(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The focal loss of logits, any shape, if their queries are wanted, and if they are not.

    Source: Lin et al., "Focal loss for dense object detection" (ICCV 2017), equation 5.
    """
    score = logits.sigmoid()
    wanted = ALPHA * (1 - score) ** GAMMA * -F.logsigmoid(logits)
    unwanted = (1 - ALPHA) * score**GAMMA * -F.logsigmoid(-logits)
    return wanted, unwanted


def grounding_losses(logits: Tensor, boxes: Tensor, targets: Tensor, there: Tensor, chosen: Tensor) -> list[Tensor]:
    """The three losses of each phrase after one decoder layer: focal, L1 and GIoU, (B,) each.

    A phrase that names nothing has no box to learn, and all of its queries are to score low [ours].

    Args:
        logits: (B, Q).
        boxes: (B, Q, 4), centres.
        targets: (B, T, 4), centres.
        there: (B, T) bool.
        chosen: (B, T), by `match`.
    """
    wanted, unwanted = focal_terms(logits.float())
    is_chosen = torch.zeros_like(wanted).scatter(1, chosen, there.float())
    focal = torch.where(is_chosen > 0, wanted, unwanted).sum(1)
    matched = boxes.gather(1, chosen[..., None].expand(-1, -1, 4))
    # Of a phrase that names many objects, each counts for less.
    counts = there.float() / there.float().sum(1, keepdim=True).clamp(min=1)
    distance = ((matched - targets).abs().sum(-1) * counts).sum(1)
    _, giou = overlaps(to_corners(matched), to_corners(targets))
    return [focal / there.sum(1).clamp(min=1), distance, ((1 - giou) * counts).sum(1)]
