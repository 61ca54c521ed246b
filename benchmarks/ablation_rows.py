"""The rows of the paper's Tables 3 and 4: the switches of each, the paper's numbers, and how it is trained here.

Source: RS2-SAM 2 (arXiv 2503.07266), whose numbers are of the RefSegRS test set. What makes the rows comparable:

- All rows of a seed start from one model without any of the parts in question, trained first on what things look like
  and then on phrases: in place of SAM 2 and BEiT-3, which the paper starts from. From there on trunk and neck are
  frozen, as in the paper, and what a row adds starts with the same fresh weights in every row that has it.
- Helpers that the paper has not (losses of categories and the like) teach that common start only. In the rows there
  are the paper's losses alone, and presence, for which all rows see the same phrases.
- Fusion layers are in every block, as in the paper, not from the seventh on, as in the built-in model, and there is no
  candidate finder. The adapters beside the feed-forward networks come and go with them.
- Every phrase is answered with a mask, whatever the score of presence.
- "+ mask prompt" and "+ fusion" are added to the baseline alone, without the boundary loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from refersat.training.recipe import (
    LossOptions,
    OptimizerOptions,
    OutlineData,
    PartOptions,
    Parts,
    Recipe,
    Span,
    Stage,
)

NOTHING = {
    "block_fusion": "none",
    "mlp_adapter": False,
    "encoder_fusion": False,
    "mask_prompt": "none",
    "boundary_scalar": False,
    "fusion_from_block": 0,
    "candidate_width": 0,
    "selection": False,
    "presence_threshold": 0.0,  # masks are what is compared
}
FUSION = {"block_fusion": "bi", "mlp_adapter": True, "encoder_fusion": True}
BOUNDARY = {"boundary_scalar": True}
PROMPT = {"mask_prompt": "attention"}
ALL = {**NOTHING, **FUSION, **BOUNDARY, **PROMPT}

BOUNDARY_SHARE = 0.2
"""Weight of the boundary loss for a cross-entropy of weight 1: the paper's."""

_LOOK, _PHRASES = 8, 4
"""Views of a step that are looked at without phrases; views with phrases, and phrases about each."""

_OPTIMIZER: dict[str, Any] = {"kind": "muon", "learning_rate": 2e-3, "warm_up": 30, "average": 0.98}
_SAVE_EVERY = Span(steps=100)


@dataclass(frozen=True)
class Row:
    """A row of the tables.

    Attributes:
        label: for people.
        model: its switches, changes to the configuration.
        boundary: kind of the boundary loss; None without.
        paper: the paper's mIoU and oIoU; None where it has no such row.
    """

    label: str
    model: Mapping[str, Any]
    boundary: Literal["released", "soft"] | None
    paper: tuple[float, float] | None


ROWS = {
    "baseline": Row("baseline", NOTHING, None, (36.64, 55.51)),
    "boundary-released": Row("+ boundary loss, released", {**NOTHING, **BOUNDARY}, "released", (38.63, 57.36)),
    "boundary-soft": Row("+ boundary loss, soft", {**NOTHING, **BOUNDARY}, "soft", None),
    "mask-prompt": Row("+ mask prompt", {**NOTHING, **PROMPT}, None, (60.20, 70.89)),
    "fusion": Row("+ fusion", {**NOTHING, **FUSION}, None, (68.71, 78.36)),
    "all": Row("all (fusion in both directions)", ALL, "soft", (73.90, 80.87)),
    "linear": Row("all, blocks: linear", {**ALL, "block_fusion": "linear"}, "soft", (68.19, 77.39)),
    "uni": Row("all, blocks: text to image", {**ALL, "block_fusion": "uni"}, "soft", (70.10, 78.93)),
    "product": Row("all, prompt without attention", {**ALL, "mask_prompt": "product"}, "soft", (71.59, 79.89)),
    "no-encoder-fusion": Row(
        "all, no fusion after the encoder", {**ALL, "encoder_fusion": False}, "soft", (67.61, 77.54)
    ),
    "no-block-fusion": Row(
        "all, no fusion in the encoder", {**ALL, "block_fusion": "none", "mlp_adapter": False}, "soft", (61.08, 72.33)
    ),
}


@dataclass(frozen=True)
class Size:
    """How large everything is.

    Attributes:
        side: of the images, in pixels.
        steps: of each row.
        start_steps: of the common start.
        precision: as in a recipe.
        model: changes to the built-in model's sizes.
    """

    side: int = 128
    steps: int = 200
    start_steps: int = 700
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    model: Mapping[str, Any] = field(default_factory=dict)


def start_recipe(data: OutlineData, size: Size, seed: int) -> Recipe:
    """What all rows of a seed start from: the baseline, taught with all helpers that do not need a part in question."""
    looks = max(1, size.start_steps * 2 // 5)
    return Recipe(
        name=f"start-{seed}",
        seed=1000 + seed,  # the rows see other views
        model={**size.model, **NOTHING, "image_size": size.side},
        data=data,
        loss=LossOptions(dice=2.0, coarse=0.0, boundary=0.0, pseudo_mask=0.0),
        stages=[
            Stage(steps=looks, image_size=size.side, batch_size=_LOOK, phrases_per_view=0),
            _stage(max(1, size.start_steps - looks), size),
        ],
        **_common(size, steps=looks + max(1, size.start_steps - looks)),
    )


def row_recipe(name: str, data: OutlineData, size: Size, seed: int, first: Path | None) -> Recipe:
    """A row, from the model folder with its `first` weights; None: all fresh, to measure how long it takes."""
    row = ROWS[name]
    loss = LossOptions(
        dice=2.0,
        coarse=0.0,
        pseudo_mask=0.0,
        categories=0.0,
        named=0.0,
        boundary=0.0 if row.boundary is None else BOUNDARY_SHARE * LossOptions().cross_entropy,
        boundary_kind=row.boundary or "soft",
    )
    return Recipe(
        name=f"{name}-{seed}",
        seed=seed,
        model={**size.model, **row.model, "image_size": size.side} if first is None else {},
        init={} if first is None else {"model": str(first)},
        data=data,
        loss=loss,
        parts=Parts(trunk=PartOptions(train=False), neck=PartOptions(train=False)),
        stages=[_stage(size.steps, size)],
        **_common(size, steps=size.steps),
    )


def _stage(steps: int, size: Size) -> Stage:
    return Stage(steps=steps, image_size=size.side, batch_size=_PHRASES, phrases_per_view=_PHRASES)


def _common(size: Size, *, steps: int) -> dict[str, Any]:
    return {
        "optimizer": OptimizerOptions(**_OPTIMIZER, precision=size.precision),
        "validate_every": Span(steps=steps),  # no best one of several is chosen
        "validation_samples": None,
        "save_every": _SAVE_EVERY,
        "keep": 1,
        "log_samples": False,
    }
