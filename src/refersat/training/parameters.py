"""Which parameters train, in which group, and their moving average."""

from __future__ import annotations

import re
from copy import deepcopy

import torch
from torch import nn

from refersat.models.rs2sam2 import RS2Sam2Model

# Parts of SAM 2 that a phrase-driven single mask never reaches: they cannot receive a gradient.
_IDLE = re.compile(
    r"prompt_encoder\.(point_embed|not_a_point_embed)\."
    r"|mask_decoder\.output_hypernetworks_mlps\.[123]\."
    r"|mask_decoder\.iou_prediction_head\."
)
_NO_DECAY = re.compile(r"(bias|pos_embed|pos_embed_window|cls_token|no_memory_embedding|_positions\.weight)$")


def freeze_idle(model: RS2Sam2Model, *, boundary_loss: bool) -> None:
    """Freeze every parameter that cannot receive a gradient, so that no optimizer carries it."""
    last = len(model.trunk.blocks) - 1
    last_text = re.compile(rf"trunk\.blocks\.{last}\.fusion\.(text_from_image|text_up)\.")
    # What the union encoder's last layer makes of the text matters only if something reads it.
    last = len(model.union_encoder.layers) - 1
    unread_text = re.compile(
        rf"text_projection\.|union_encoder\.(norm|layers\.{last}\."
        r"(attention\.(query|inner_norm|output)|feed_forward|feed_forward_norm))\.text\."
    )
    reads_text = (
        model.encoder_fusion is not None
        or model.config.block_fusion in ("uni", "bi")
        or (model.boundary_scalar is not None and boundary_loss)
    )
    for name, parameter in model.named_parameters():
        unused_prompt = "mask_embed" if model.mask_prompt is None else "no_mask_embed"
        if (
            _IDLE.match(name)
            or last_text.match(name)
            or name.startswith(f"prompt_encoder.{unused_prompt}.")
            or (name.startswith("boundary_scalar.") and not boundary_loss)
            or (unread_text.match(name) and not reads_text)
        ):
            parameter.requires_grad_(False)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Three groups: what maps features to features (`matrices`); tables and heads; norms, biases and position tables.

    The last goes without weight decay.
    """
    matrices: list[nn.Parameter] = []
    tables: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    of_layers = {
        id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
    }
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.ndim < 2 or _NO_DECAY.search(name):
            plain.append(parameter)
        elif (id(parameter) in of_layers or name.endswith("in_proj_weight")) and "_head." not in name:
            matrices.append(parameter)
        else:
            tables.append(parameter)
    return [
        {"params": matrices, "weight_decay": weight_decay, "matrices": True},
        {"params": tables, "weight_decay": weight_decay, "matrices": False},
        {"params": plain, "weight_decay": 0.0, "matrices": False},
    ]


class MovingAverage:
    """Exponential moving average of a model's weights; what is validated and saved."""

    def __init__(self, model: RS2Sam2Model, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.model = deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: RS2Sam2Model) -> None:
        """Move towards the model; faster at first, so that random weights are soon forgotten."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for average, current in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(current.detach(), 1 - decay)
