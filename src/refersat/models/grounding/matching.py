"""Which query answers for which target: the cheapest one-to-one assignment."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from refersat.models.grounding.boxes import overlaps, to_corners
from refersat.models.grounding.losses import Weights, focal_terms


@torch.no_grad()
def match(logits: Tensor, boxes: Tensor, targets: Tensor, there: Tensor, weights: Weights) -> Tensor:
    """The query of each target: no query has two, and the sum of costs, weighed like the losses, is the least.

    Source: Carion et al., "DETR" (ECCV 2020), section 3.1, with the focal cost of Deformable DETR.

    Args:
        logits: (B, Q).
        boxes: (B, Q, 4), centres.
        targets: (B, T, 4), centres; T at most Q.
        there: (B, T) bool; what is not there gets some query that is of no other.
        weights: of the costs.

    Returns:
        (B, T) int64.
    """
    wanted, unwanted = focal_terms(logits.float())
    distance = (boxes[:, :, None] - targets[:, None]).abs().sum(-1)
    _, giou = overlaps(to_corners(boxes)[:, :, None], to_corners(targets)[:, None])
    cost = weights.focal * (wanted - unwanted)[..., None] + weights.box * distance - weights.giou * giou
    cost = cost.masked_fill(~there[:, None], 0.0).transpose(1, 2)  # (B, T, Q)
    if cost.is_meta:  # sizes alone: any query will do
        return torch.zeros(cost.shape[:2], dtype=torch.int64, device=cost.device)
    chosen = [linear_sum_assignment(each)[1] for each in cost.cpu().numpy()]
    return torch.from_numpy(np.stack(chosen)).to(cost.device)
