"""A tiny RS2-SAM 2 in all its configurations, what is asked of it, and what it answers, for the tests beside this."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from parity import fill_tensor
from torch import Tensor

from refersat.models.beit3 import UNKNOWN_TOKEN
from refersat.models.candidates import FIRST_GAIN
from refersat.models.losses import boundary, cross_entropy, dice
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.models.rs2sam2_output import RS2Sam2Output
from refersat.models.selection import INSTANCES, NOT_MEANT

TINY: dict[str, Any] = {
    "image_size": 64,
    "hidden_size": 32,
    "union_image_size": 32,
    "union_patch_size": 8,
    "union_width": 32,
    "union_layers": 2,
    "union_heads": 2,
    "union_feed_forward": 48,
    "vocab_size": 40,
    "text_positions": 24,
    "max_text_length": 16,
    "trunk_widths": [16, 32, 64, 128],
    "trunk_depths": [1, 2, 3, 1],
    "trunk_heads": [1, 2, 4, 8],
    "trunk_windows": [8, 4, 14, 7],  # 14 and 7: padded with zeros
    "trunk_global_blocks": [4],
    "decoder_feed_forward": 48,
}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "released": {},
    "built-in": {
        "stem": "convolutional",
        "trunk_windows": [8, 8, 8, 8],
        "trunk_background": 12,
        "trunk_convolutions": [0, 1, 2, 0],
        "fusion_from_block": 4,
        "candidate_width": 8,
        "selection": True,
        "resize_antialias": True,
        "presence": "object_score",
        "presence_threshold": 0.5,
    },
    "two views": {
        "trunk_windows": [8, 8, 8, 8],
        "trunk_background": 12,
        "fusion_from_block": 4,
        "candidate_width": 8,
        "selection": True,
        "glance": 0.5,
        "least_coverage": 0.2,
    },
    "refiner": {
        "trunk_windows": [8, 8, 8, 8],
        "trunk_background": 12,
        "fusion_from_block": 4,
        "candidate_width": 8,
        "refiner_width": 8,
    },
    "no block fusion": {"block_fusion": "none"},
    "linear block fusion": {"block_fusion": "linear"},
    "uni block fusion": {"block_fusion": "uni"},
    "no encoder fusion": {"encoder_fusion": False},
    "no mask prompt": {"mask_prompt": "none"},
    "product mask prompt": {"mask_prompt": "product"},
    "no boundary scalar": {"boundary_scalar": False},
    "no adapter": {"mlp_adapter": False},
    "no fusion": {"block_fusion": "none", "encoder_fusion": False},
    "EVF-SAM 2": {
        "block_fusion": "none",
        "mlp_adapter": False,
        "encoder_fusion": False,
        "mask_prompt": "none",
        "boundary_scalar": False,
        "mask_threshold": 0.0,
        "two_class_logit": False,
    },
}
CONFIGURATIONS["three views"] = CONFIGURATIONS["two views"] | {"glance": 0.25}
CONFIGURATIONS["two views, refined"] = CONFIGURATIONS["two views"] | {"refiner_width": 8}
CONFIGURATIONS["second look"] = CONFIGURATIONS["two views, refined"] | {"second_look": True}
IDS = torch.tensor([[0, 5, UNKNOWN_TOKEN, 7, 30, 2], [0, 9, 2, 3, 3, 3], [0, UNKNOWN_TOKEN, 8, 2, 3, 3]])
LENGTHS = (6, 3, 4)
MASK = torch.tensor([[place < length for place in range(6)] for length in LENGTHS])


def make_model(**changes: Any) -> RS2Sam2Model:
    """Tiny, in evaluation mode, with weights that are large enough for every part to be seen in the answer."""
    torch.manual_seed(0)
    model = RS2Sam2Model(RS2Sam2Config(**{**TINY, **changes})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(fill_tensor(name, tuple(parameter.shape))))
        if model.candidates is not None:
            model.candidates.gains.fill_(FIRST_GAIN)  # all there is of the mask passes through them
    return model


def views(batch: int = len(IDS), *, size: int = 64, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(batch, 3, size, size, generator=generator),
        torch.randn(batch, 3, 32, 32, generator=generator),
    )


def answer(
    model: RS2Sam2Model, ids: Tensor = IDS, mask: Tensor = MASK, images: tuple[Tensor, Tensor] | None = None
) -> RS2Sam2Output:
    output: RS2Sam2Output = model(*(images or views(len(ids))), ids, mask)
    return output


def numbers(output: RS2Sam2Output) -> dict[str, Tensor]:
    """All that an output holds, each map under a name of its own."""
    flat = {name: value for name, value in output.items() if isinstance(value, Tensor)}
    for name in ("features", "image_maps"):
        flat |= {f"{name} {level}": each for level, each in enumerate(output[name])}
    if output.candidates is not None:
        found = output.candidates
        flat |= {"candidate logits": found.logits, "edges": found.survey.edges, "survey": found.survey.features}
    if output.selection is not None:
        logits = output.selection.logits
        # As many as there can be: how many there are, the richest image of the batch decides.
        logits = F.pad(logits, (0, INSTANCES - logits.shape[1]), value=NOT_MEANT)
        flat |= {"objectness": output.selection.objectness, "selection": logits}
    return flat


def training_loss(output: RS2Sam2Output, *, boundary_loss: bool) -> Tensor:
    """Every term by which a sample can teach: mask, presence, and boundary and candidates where the model has them."""
    assert output.decoded_logits is not None
    assert output.object_score_logits is not None
    target = (torch.rand(output.decoded_logits.shape, generator=torch.Generator().manual_seed(2)) < 0.5).float()
    loss = (
        cross_entropy(output.decoded_logits, target)
        + dice(output.decoded_logits, target)
        + output.object_score_logits.square()
    )
    if boundary_loss and output.text_weight is not None:
        loss = loss + boundary(output.decoded_logits, target, output.text_weight, kind="soft")
    if output.candidates is not None:
        loss = loss + output.candidates.survey.edges.mean() + output.candidates.logits.mean()
    if output.selection is not None:
        loss = loss + output.selection.objectness.mean() + output.selection.logits.mean()
    return loss.sum()


def saved_numbers(model: RS2Sam2Model) -> int:
    """Runs forward and backward; how many numbers the forward kept for the backward."""
    count = 0

    def keep(tensor: Tensor) -> Tensor:
        nonlocal count
        count += tensor.numel()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = training_loss(answer(model), boundary_loss=True)
    loss.backward()
    return count
