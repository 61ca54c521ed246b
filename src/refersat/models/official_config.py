"""The configuration of released weights, told from the weights themselves.

The config.json of a release says little, but shapes and names say nearly everything. Only the attention heads, windows
and global blocks of the trunk leave no trace in the weights: they are those of the SAM 2 release with the same width
and depths.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any, NamedTuple

from refersat.errors import UserError
from refersat.models.official import ConversionPlan
from refersat.models.rs2sam2 import RS2Sam2Config

OVERRIDES = "refersat"
"""Key of a released config.json whose fields go over what the weights tell: for sizes that SAM 2 never had."""

_BEIT3_HEAD_WIDTH = 64
_SPECIAL_POSITIONS = 3
"""Rows of the visual position table that are no patches: two unused ones and the class token."""


class Trunk(NamedTuple):
    """What the weights of a Hiera trunk do not show."""

    heads: list[int]
    windows: list[int]
    global_blocks: list[int]


RELEASED_TRUNKS: Mapping[tuple[int, tuple[int, ...]], Trunk] = {
    (96, (1, 2, 7, 2)): Trunk([1, 2, 4, 8], [8, 4, 14, 7], [5, 7, 9]),
    (96, (1, 2, 11, 2)): Trunk([1, 2, 4, 8], [8, 4, 14, 7], [7, 10, 13]),
    (112, (2, 3, 16, 3)): Trunk([2, 4, 8, 16], [8, 4, 14, 7], [12, 16, 20]),
    (144, (2, 6, 36, 4)): Trunk([2, 4, 8, 16], [8, 4, 16, 8], [23, 33, 43]),
}
"""The four sizes of SAM 2 (tiny, small, base+, large): first stage's width and blocks per stage -> the rest."""


def released_config(
    plan: ConversionPlan, shapes: Mapping[str, tuple[int, ...]], description: Mapping[str, Any]
) -> RS2Sam2Config:
    """Configuration of a released RS2-SAM 2 or EVF-SAM 2.

    Args:
        plan: where its names go.
        shapes: released name -> shape.
        description: its config.json; only `OVERRIDES` is used.

    Raises:
        UserError: the weights are only a part of a model, or of sizes that neither a release nor the description has.
    """
    if plan.family not in ("rs2sam2", "evf-sam2"):
        raise UserError(f"weights of {plan.family} alone are not a whole model: they can only start a training")
    overrides = description.get(OVERRIDES, {})
    if not isinstance(overrides, Mapping):
        raise UserError(f'"{OVERRIDES}" in config.json must hold configuration fields, not {type(overrides).__name__}')
    ours = {name: shapes[sources[0]] for name, sources in plan.sources.items()}
    try:
        told = _sizes(ours) | _trunk(ours, needed="trunk_heads" not in overrides) | _parts(ours)
        base = RS2Sam2Config.evf_sam2() if plan.family == "evf-sam2" else RS2Sam2Config.large()
        return RS2Sam2Config(**(base.to_diff_dict() | told | dict(overrides)))
    except KeyError as error:
        raise UserError(f"the weights are not whole: nothing there for {error.args[0]}") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"the released configuration does not hold: {' '.join(str(error).split())}") from error


def _sizes(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    vocabulary, width = shapes["union_encoder.token_embed.weight"]
    patch = shapes["union_encoder.patch_embed.weight"][-1]
    grid = math.isqrt(shapes["union_encoder.visual_positions.weight"][0] - _SPECIAL_POSITIONS)
    return {
        "hidden_size": shapes["token_mlp.proj_out.weight"][0],
        "decoder_feed_forward": shapes["mask_decoder.transformer.layers.0.mlp.proj_in.weight"][0],
        "union_image_size": grid * patch,
        "union_patch_size": patch,
        "union_width": width,
        "union_layers": _count(shapes, "union_encoder.layers."),
        "union_heads": max(1, width // _BEIT3_HEAD_WIDTH),
        "union_feed_forward": shapes["union_encoder.layers.0.feed_forward.visual.proj_in.weight"][0],
        "vocab_size": vocabulary,
        "text_positions": shapes["union_encoder.text_positions.weight"][0],
    }


def _trunk(shapes: Mapping[str, tuple[int, ...]], *, needed: bool) -> dict[str, Any]:
    blocks = range(_count(shapes, "trunk.blocks."))
    stages = [(width, len(list(same))) for width, same in groupby(_block_widths(shapes, blocks))]
    widths, depths = [width for width, _ in stages], [depth for _, depth in stages]
    told = {"trunk_widths": widths, "trunk_depths": depths, "trunk_background": shapes["trunk.pos_embed"][-1]}
    known = RELEASED_TRUNKS.get((widths[0], tuple(depths)))
    if known is not None:
        return told | {
            "trunk_heads": known.heads,
            "trunk_windows": known.windows,
            "trunk_global_blocks": known.global_blocks,
        }
    if needed:
        raise UserError(
            f"no SAM 2 release has a trunk of width {widths[0]} with {depths} blocks: give trunk_heads, trunk_windows "
            f'and trunk_global_blocks below "{OVERRIDES}" in config.json'
        )
    return told


def _block_widths(shapes: Mapping[str, tuple[int, ...]], blocks: Iterable[int]) -> list[int]:
    return [shapes[f"trunk.blocks.{block}.layer_norm2.weight"][0] for block in blocks]


def _parts(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Which of RS2-SAM 2's additions the weights have."""
    fusions = {"text_up": "bi", "text_down": "uni", "down": "linear"}
    fusion = next((kind for part, kind in fusions.items() if f"trunk.blocks.0.fusion.{part}.weight" in shapes), "none")
    prompts = {"attention.in_proj_weight": "attention", "score.weight": "product"}
    prompt = next((kind for part, kind in prompts.items() if f"mask_prompt.{part}" in shapes), "none")
    return {
        "block_fusion": fusion,
        "mlp_adapter": "trunk.blocks.0.adapter.down.weight" in shapes,
        "encoder_fusion": "encoder_fusion.image_from_text.in_proj_weight" in shapes,
        "mask_prompt": prompt,
        "boundary_scalar": "boundary_scalar.weight" in shapes,
    }


def _count(shapes: Mapping[str, tuple[int, ...]], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in shapes if name.startswith(prefix)})
