"""A batch as the loss gets it, for the tests beside this."""

from __future__ import annotations

import torch

from refersat.training.batch import Batch
from refersat.training.recipe import LossOptions

SIDE = 64
CATEGORIES = 2
SELECTION = ("objects", "selection")
WEIGHTS = [
    name for name in LossOptions.model_fields if name not in ("boundary_kind", "mask_iou", "refinement", *SELECTION)
]
"""Loss terms that a batch of views teaches, but for the selector's."""


def make_batch(present: list[float]) -> Batch:
    """A square to find in the samples that have a target; every sample shows both categories."""
    generator = torch.Generator().manual_seed(0)
    size = len(present)
    target = torch.zeros(size, 1, SIDE, SIDE)
    target[:, :, 8:24, 16:40] = 1
    target *= torch.tensor(present).view(-1, 1, 1, 1)
    labels = torch.zeros(size, SIDE // 4, SIDE // 4, dtype=torch.long)
    labels[:, 2:6, 4:10] = 1
    labels[:, 10:12] = 2
    return Batch(
        pixel_values=torch.randn(size, 3, SIDE, SIDE, generator=generator),
        union_pixel_values=torch.randn(size, 3, 32, 32, generator=generator),
        input_ids=torch.tensor([[0, 5, 6, 2]] * size),
        attention_mask=torch.ones(size, 4, dtype=torch.bool),
        target=target,
        present=torch.tensor(present),
        named=torch.arange(size) % CATEGORIES,
        labels=labels,
        label_weights=torch.where(labels == 0, 0.2, 1.0),
        edges=torch.where(labels == 0, 0.0, 2.0)[:, None].repeat(1, 4, 1, 1),
    )
