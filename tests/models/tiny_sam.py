"""SAM 2 and SAM, tiny and with random weights, in folders as Transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel

MASK_DECODER = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 32}
SAM2: dict[str, Any] = {
    "vision_config": {
        "model_type": "sam2_vision_model",
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 8,
            "image_size": [128, 128],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [8, 16, 32, 64],
            "num_attention_heads_per_stage": [1, 1, 2, 2],
            "window_size_per_stage": [4, 4, 4, 4],
            "global_attention_blocks": [3],
            "window_positional_embedding_background_size": [2, 2],
        },
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
        "fpn_hidden_size": 32,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 128, "mask_input_channels": 4},
    "mask_decoder_config": MASK_DECODER,
}
SAM1: dict[str, Any] = {
    "vision_config": {
        "hidden_size": 32,
        "output_channels": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 128,
        "patch_size": 16,
        "window_size": 4,
        "global_attn_indexes": [1],
        "num_pos_feats": 16,
        "mlp_dim": 64,
    },
    "prompt_encoder_config": {"hidden_size": 32, "image_size": 128, "patch_size": 16, "mask_input_channels": 4},
    "mask_decoder_config": MASK_DECODER,
}


def save_stirred(model: torch.nn.Module, folder: Path) -> Path:
    """Larger weights than a fresh network's, so that images and prompts make a difference that can be seen."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * 0.15
    model.eval().save_pretrained(folder)
    return folder


def save_sam2(folder: Path) -> Path:
    """`Sam2Model`, without any word about its images."""
    torch.manual_seed(0)
    return save_stirred(Sam2Model(Sam2Config(**SAM2)), folder)


def save_sam1(folder: Path) -> Path:
    """`SamModel`, without any word about its images."""
    torch.manual_seed(0)
    return save_stirred(SamModel(SamConfig(**SAM1)), folder)
