"""Released parameter names and ours: the tables behind `official.from_official`.

The RS2-SAM 2 and EVF-SAM 2 releases hold SAM 2 below ``visual_model.`` and BEiT-3 below ``mm_extractor.``; the SAM 2
and BEiT-3 releases hold the same names without those prefixes. Hence one table for the names of SAM 2, one for those of
BEiT-3 and one for what RS2-SAM 2 and EVF-SAM 2 add on top. A pattern must match a whole name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

SAM2_PREFIX = "visual_model."
BEIT3_PREFIX = "mm_extractor."

POINT_EMBEDDINGS = tuple(f"sam_prompt_encoder.point_embeddings.{index}.weight" for index in range(4))
"""Four (1, C) tensors of SAM 2, one (4, C) tensor here: `point_embed`, in this order."""

POINT_EMBED = "prompt_encoder.point_embed.weight"


class Rule(NamedTuple):
    """A released name and what becomes of it: our name, or, when `target` is None, dropped for a `reason`."""

    pattern: re.Pattern[str]
    target: str | None
    reason: str = ""


def _rules(names: Mapping[str, str]) -> list[Rule]:
    return [Rule(re.compile(pattern), target) for pattern, target in names.items()]


def _drops(reasons: Mapping[str, str]) -> list[Rule]:
    return [Rule(re.compile(pattern), None, reason) for pattern, reason in reasons.items()]


_WB = r"(weight|bias)"
_ATTENTION = r"multihead_attn\.(in_proj_weight|in_proj_bias|out_proj\.weight|out_proj\.bias)"
_BLOCK = r"image_encoder\.trunk\.blocks\.(\d+)\."
_DECODER = r"sam_mask_decoder\."
_LAYER = rf"{_DECODER}transformer\.layers\.(\d+)\."
_ENCODER = r"beit3\.encoder\.layers\.(\d+)\."
_HEAD = rf"{_DECODER}(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)\.layers\."

SAM2: tuple[Rule, ...] = (
    *_rules(
        {
            # Trunk.
            r"no_mem_embed": r"no_memory_embedding",
            r"image_encoder\.trunk\.(pos_embed|pos_embed_window)": r"trunk.\1",
            rf"image_encoder\.trunk\.patch_embed\.proj\.{_WB}": r"trunk.patch_embed.projection.\1",
            rf"{_BLOCK}norm([12])\.{_WB}": r"trunk.blocks.\1.layer_norm\2.\3",
            rf"{_BLOCK}attn\.(qkv|proj)\.{_WB}": r"trunk.blocks.\1.attn.\2.\3",
            rf"{_BLOCK}mlp\.layers\.0\.{_WB}": r"trunk.blocks.\1.mlp.proj_in.\2",
            rf"{_BLOCK}mlp\.layers\.1\.{_WB}": r"trunk.blocks.\1.mlp.proj_out.\2",
            rf"{_BLOCK}proj\.{_WB}": r"trunk.blocks.\1.proj.\2",
            # What RS2-SAM 2 adds to the trunk. Beware of the two attentions' names: in `vlfusion_module` the image
            # asks the text, in `lvfusion_module` the text asks the image.
            rf"{_BLOCK}MLP_Adapter\.D_fc1\.{_WB}": r"trunk.blocks.\1.adapter.down.\2",
            rf"{_BLOCK}MLP_Adapter\.D_fc2\.{_WB}": r"trunk.blocks.\1.adapter.up.\2",
            rf"{_BLOCK}Space_Adapter\.D_fc1\.{_WB}": r"trunk.blocks.\1.fusion.down.\2",
            rf"{_BLOCK}Space_Adapter\.D_fc2\.{_WB}": r"trunk.blocks.\1.fusion.up.\2",
            rf"{_BLOCK}Space_Adapter\.text_in_linear\.{_WB}": r"trunk.blocks.\1.fusion.text_down.\2",
            rf"{_BLOCK}Space_Adapter\.text_out_linear\.{_WB}": r"trunk.blocks.\1.fusion.text_up.\2",
            rf"{_BLOCK}Space_Adapter\.vlfusion_module\.{_ATTENTION}": r"trunk.blocks.\1.fusion.image_from_text.\2",
            rf"{_BLOCK}Space_Adapter\.lvfusion_module\.{_ATTENTION}": r"trunk.blocks.\1.fusion.text_from_image.\2",
            # Neck.
            rf"image_encoder\.neck\.convs\.(\d+)\.conv\.{_WB}": r"neck.convs.\1.\2",
            # Prompt encoder.
            r"sam_prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix": (
                r"prompt_encoder.shared_embedding.positional_embedding"
            ),
            r"sam_prompt_encoder\.(not_a_point_embed|no_mask_embed)\.weight": r"prompt_encoder.\1.weight",
            rf"sam_prompt_encoder\.mask_downscaling\.0\.{_WB}": r"prompt_encoder.mask_embed.conv1.\1",
            rf"sam_prompt_encoder\.mask_downscaling\.1\.{_WB}": r"prompt_encoder.mask_embed.layer_norm1.\1",
            rf"sam_prompt_encoder\.mask_downscaling\.3\.{_WB}": r"prompt_encoder.mask_embed.conv2.\1",
            rf"sam_prompt_encoder\.mask_downscaling\.4\.{_WB}": r"prompt_encoder.mask_embed.layer_norm2.\1",
            rf"sam_prompt_encoder\.mask_downscaling\.6\.{_WB}": r"prompt_encoder.mask_embed.conv3.\1",
            # Mask decoder.
            rf"{_DECODER}(iou_token|mask_tokens|obj_score_token)\.weight": r"mask_decoder.\1.weight",
            rf"{_DECODER}(conv_s[01])\.{_WB}": r"mask_decoder.\1.\2",
            rf"{_DECODER}output_upscaling\.0\.{_WB}": r"mask_decoder.upscale_conv1.\1",
            rf"{_DECODER}output_upscaling\.1\.{_WB}": r"mask_decoder.upscale_layer_norm.\1",
            rf"{_DECODER}output_upscaling\.3\.{_WB}": r"mask_decoder.upscale_conv2.\1",
            rf"{_HEAD}0\.{_WB}": r"mask_decoder.\1.proj_in.\2",
            rf"{_HEAD}1\.{_WB}": r"mask_decoder.\1.layers.0.\2",
            rf"{_HEAD}2\.{_WB}": r"mask_decoder.\1.proj_out.\2",
            rf"{_LAYER}norm([1-4])\.{_WB}": r"mask_decoder.transformer.layers.\1.layer_norm\2.\3",
            rf"{_LAYER}mlp\.layers\.0\.{_WB}": r"mask_decoder.transformer.layers.\1.mlp.proj_in.\2",
            rf"{_LAYER}mlp\.layers\.1\.{_WB}": r"mask_decoder.transformer.layers.\1.mlp.proj_out.\2",
            rf"{_LAYER}(self_attn|cross_attn_token_to_image|cross_attn_image_to_token)\.([qkv])_proj\.{_WB}": (
                r"mask_decoder.transformer.layers.\1.\2.\3_proj.\4"
            ),
            rf"{_LAYER}(self_attn|cross_attn_token_to_image|cross_attn_image_to_token)\.out_proj\.{_WB}": (
                r"mask_decoder.transformer.layers.\1.\2.o_proj.\3"
            ),
            rf"{_DECODER}transformer\.final_attn_token_to_image\.([qkv])_proj\.{_WB}": (
                r"mask_decoder.transformer.final_attn_token_to_image.\1_proj.\2"
            ),
            rf"{_DECODER}transformer\.final_attn_token_to_image\.out_proj\.{_WB}": (
                r"mask_decoder.transformer.final_attn_token_to_image.o_proj.\1"
            ),
            rf"{_DECODER}transformer\.norm_final_attn\.{_WB}": r"mask_decoder.transformer.layer_norm_final_attn.\1",
            # RS2-SAM 2 keeps its fusion after the encoder inside the decoder.
            rf"{_DECODER}vlfusion_module\.{_ATTENTION}": r"encoder_fusion.image_from_text.\1",
        }
    ),
    *_drops(
        {
            r"memory_attention\..+": "video memory: no part in single images",
            r"memory_encoder\..+": "video memory: no part in single images",
            r"maskmem_tpos_enc": "video memory: no part in single images",
            r"no_mem_pos_enc": "video memory: no part in single images",
            rf"mask_downsample\.{_WB}": "video memory: no part in single images",
            r"no_obj_ptr": "object pointers of videos: no part in single images",
            rf"obj_ptr_proj\.layers\.\d+\.{_WB}": "object pointers of videos: no part in single images",
        }
    ),
)

_BEIT3_ATTENTION_NAMES = {
    "q_proj": "attention.query",
    "k_proj": "attention.key",
    "v_proj": "attention.value",
    "inner_attn_ln": "attention.inner_norm",
    "out_proj": "attention.output",
}
_MULTIWAY = {"A": "visual", "B": "text"}


def _beit3_names() -> dict[str, str]:
    names = {
        r"beit3\.text_embed\.weight": r"union_encoder.token_embed.weight",
        r"beit3\.vision_embed\.cls_token": r"union_encoder.cls_token",
        rf"beit3\.vision_embed\.proj\.{_WB}": r"union_encoder.patch_embed.\1",
    }
    for letter, way in _MULTIWAY.items():
        names |= {
            rf"beit3\.encoder\.embed_positions\.{letter}\.weight": rf"union_encoder.{way}_positions.weight",
            rf"beit3\.encoder\.layer_norm\.{letter}\.{_WB}": rf"union_encoder.norm.{way}.\1",
            rf"{_ENCODER}self_attn_layer_norm\.{letter}\.{_WB}": rf"union_encoder.layers.\1.attention_norm.{way}.\2",
            rf"{_ENCODER}final_layer_norm\.{letter}\.{_WB}": rf"union_encoder.layers.\1.feed_forward_norm.{way}.\2",
            rf"{_ENCODER}ffn\.{letter}\.fc1\.{_WB}": rf"union_encoder.layers.\1.feed_forward.{way}.proj_in.\2",
            rf"{_ENCODER}ffn\.{letter}\.ffn_layernorm\.{_WB}": rf"union_encoder.layers.\1.feed_forward.{way}.norm.\2",
            rf"{_ENCODER}ffn\.{letter}\.fc2\.{_WB}": rf"union_encoder.layers.\1.feed_forward.{way}.proj_out.\2",
        }
        for theirs, ours in _BEIT3_ATTENTION_NAMES.items():
            names[rf"{_ENCODER}self_attn\.{theirs}\.{letter}\.{_WB}"] = rf"union_encoder.layers.\1.{ours}.{way}.\2"
    return names


BEIT3: tuple[Rule, ...] = (
    *_rules(_beit3_names()),
    *_drops({r"beit3\.vision_embed\.mask_token": "masked image modelling of the pre-training: never used afterwards"}),
)

HEADS: tuple[Rule, ...] = (
    *_rules(
        {
            rf"text_hidden_fcs\.0\.0\.{_WB}": r"token_mlp.proj_in.\1",
            rf"text_hidden_fcs\.0\.2\.{_WB}": r"token_mlp.proj_out.\1",
            rf"text_feat_linear\.{_WB}": r"text_projection.\1",
            rf"vmtoken\.{_ATTENTION}": r"mask_prompt.attention.\1",
            rf"mask_linear\.{_WB}": r"mask_prompt.token_linear.\1",
            rf"mask_product\.{_WB}": r"mask_prompt.score.\1",
            rf"text2one_linear\.{_WB}": r"boundary_scalar.\1",
        }
    ),
    *_drops({rf"meo_linear\.{_WB}": "a layer the released model holds but never calls"}),
)
