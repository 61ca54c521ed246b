"""The parts of the model by which recipes say what trains, and how fast."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from transformers import PreTrainedModel

from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.training.recipe import LossOptions, PartOptions, Parts

_PARTS = {
    "fusion": r"trunk\.blocks\.\d+\.fusion\.|encoder_fusion\.",
    "adapters": r"trunk\.blocks\.\d+\.adapter\.",
    "trunk": r"(trunk|vision_encoder)\.",
    "candidates": r"candidates\.",
    "selection": r"selector\.",
    "refiner": r"refiner\.",
    "neck": r"neck\.|no_memory_embedding$",
    "union_encoder": r"union_encoder\.",
    "mask_prompt": r"mask_prompt\.",
    "projections": r"(token_mlp|text_projection|boundary_scalar)\.",
    "prompt_encoder": r"(prompt_encoder|shared_image_embedding)\.",
    "mask_decoder": r"mask_decoder\.|box_gain$",
    "image_stem": r"image_network\.(stem\.|stages\.0\.|backbone\.(embedder\.|encoder\.stages\.0\.))",
    "image_network": r"(image_network|eye)\.",
    "text_network": r"text_network\.",
    "grounder": r"(image_levels|text_to_hidden|alignment|queries|object_queries|transformer)\.",
}
"""Part -> the beginnings of its parameters' names in the model; the first that fits counts."""

_IDLE = re.compile(
    r"prompt_encoder\.(point_embed|not_a_point_embed)\."
    r"|mask_decoder\.output_hypernetworks_mlps\.[123]\."
    r"|mask_decoder\.iou_prediction_head\."
)
"""Parts of SAM 2 that a phrase-driven single mask never reaches: they cannot receive a gradient."""


_UNPROMPTED = re.compile(r"eye\.|mask_decoder\.(output_hypernetworks_mlps\.[123]|pred_obj_score_head)\.")
"""Parts of a promptable network that get no gradient from single masks of what is there."""

_CHOOSES = re.compile(r"selector\.(?!objectness\.|feature_norm\.)")
"""What of the selector tells objects apart; the rest finds them."""


def part_of(name: str) -> str:
    """The part, a field of `Parts`, that a parameter of the model belongs to."""
    return next(part for part, beginning in _PARTS.items() if re.match(beginning, name))


def freeze(model: RS2Sam2Model, parts: Parts, loss: LossOptions) -> None:
    """Freeze what the recipe says, and every parameter that can then receive no gradient: no optimizer carries it."""
    for name, parameter in model.named_parameters():
        if not options_of(name, parts).train:
            parameter.requires_grad_(False)
    freeze_idle(model, loss)


def options_of(name: str, parts: Parts) -> PartOptions:
    """What a recipe says about the part of a parameter of the model."""
    options: PartOptions = getattr(parts, part_of(name))
    return options


def freeze_idle(model: RS2Sam2Model, loss: LossOptions) -> None:
    """Freeze every parameter that can receive no gradient with these weights of the loss terms."""
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
        or (model.boundary_scalar is not None and loss.boundary)
    )
    unused_prompt = "mask_embed" if model.mask_prompt is None else "no_mask_embed"
    for name, parameter in model.named_parameters():
        if (
            _IDLE.match(name)
            or last_text.match(name)
            or name.startswith(f"prompt_encoder.{unused_prompt}.")
            or (name.startswith("boundary_scalar.") and not loss.boundary)
            or (name.startswith("candidates.edge_head.") and not loss.edges)
            or (name.startswith("mask_decoder.pred_obj_score_head.") and not loss.presence)
            or (name.startswith("selector.objectness.") and not loss.objects)
            or (name.startswith("selector.feature_norm.") and not (loss.objects or loss.selection))
            or (_CHOOSES.match(name) and not loss.selection)
            or (name.startswith("refiner.") and not loss.refinement)
            or (unread_text.match(name) and not reads_text)
        ):
            parameter.requires_grad_(False)


def finds_objects(name: str) -> bool:
    """Whether a parameter of a network with an eye says where objects are: what was seen once must not change."""
    return name.startswith(("eye.", "selector.objectness.", "selector.feature_norm."))


def freeze_unprompted(model: PreTrainedModel) -> None:
    """Freeze what prompts that ask for a single mask never reach, in any SAM, and an eye."""
    for name, parameter in model.named_parameters():
        if _UNPROMPTED.match(name):
            parameter.requires_grad_(False)


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Let layers run again in the backward pass, instead of keeping what they made.

    They are those of trunk and union encoder, or of a grounder's transformers.
    """
    # Transformers renamed it in version 5.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


@dataclass(frozen=True)
class PartSummary:
    """A part of a model in numbers.

    Attributes:
        name: as in `Parts`.
        parameters: how many values.
        trained: how many of them train.
        origins: where the values come from -> how many.
    """

    name: str
    parameters: int
    trained: int
    origins: dict[str, int]


def summaries(model: PreTrainedModel, origins: dict[str, str]) -> list[PartSummary]:
    """One for each part that the model has, in the order of `Parts`; `origins` says where a parameter comes from."""
    found: dict[str, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        found.setdefault(part_of(name), []).append((name, parameter))
    return [
        PartSummary(
            name=part,
            parameters=sum(parameter.numel() for _, parameter in found[part]),
            trained=sum(parameter.numel() for _, parameter in found[part] if parameter.requires_grad),
            origins=_counted((origins.get(name, "fresh"), parameter.numel()) for name, parameter in found[part]),
        )
        for part in Parts.model_fields
        if part in found
    ]


def _counted(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name, count in pairs:
        counts[name] = counts.get(name, 0) + count
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))
