"""Small peers with random weights, in the formats of their repositories."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import (
    CLIPTokenizer,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    Sam2VideoConfig,
    Sam2VideoModel,
    Sam3Config,
    Sam3Model,
    Sam3VideoConfig,
    Sam3VideoModel,
)

from tests.models.tiny_sam import MASK_DECODER, SAM2, save_sam2, save_stirred

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
STEPS = {"do_resize": True, "do_rescale": True, "do_normalize": True, "resample": 2, "rescale_factor": 1 / 255}

MEMORY = {
    "memory_attention_hidden_size": 32,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 32,
    "memory_attention_rope_feat_sizes": [8, 8],
    "memory_encoder_hidden_size": 32,
    "memory_encoder_output_channels": 16,
    "mask_downsampler_embed_dim": 32,
    "memory_fuser_embed_dim": 32,
    "memory_fuser_intermediate_dim": 32,
}
LAYERS = {"hidden_size": 32, "num_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
SAM3 = {
    "vision_config": {
        "backbone_config": {
            "model_type": "sam3_vit_model",
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 112,
            "patch_size": 14,
            "window_size": 4,
            "global_attn_indexes": [1],
            "pretrain_image_size": 56,
        },
        "fpn_hidden_size": 32,
        "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]],
    },
    "text_config": {
        "model_type": "clip_text_model",
        "vocab_size": 70,
        "hidden_size": 32,
        "intermediate_size": 64,
        "projection_dim": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 32,
        "bos_token_id": 0,
        "eos_token_id": 1,
        "pad_token_id": 1,
    },
    "geometry_encoder_config": LAYERS,
    "detr_encoder_config": LAYERS,
    "detr_decoder_config": {**LAYERS, "num_layers": 2, "num_queries": 6},
    "mask_decoder_config": {"hidden_size": 32, "num_attention_heads": 2},
}
GROUNDING_DINO = {
    "backbone_config": {
        "model_type": "swin",
        "image_size": 64,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 1, 2, 2],
        "window_size": 4,
        "out_indices": [2, 3, 4],
    },
    "text_config": {
        "model_type": "bert",
        "vocab_size": 1100,
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 64,
    },
    "num_queries": 10,
    "encoder_layers": 1,
    "encoder_ffn_dim": 32,
    "encoder_attention_heads": 2,
    "decoder_layers": 2,
    "decoder_ffn_dim": 32,
    "decoder_attention_heads": 2,
    "d_model": 64,  # its group normalisation has 32 groups: more than one value in each
    "max_text_len": 24,
}


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _clip_tokenizer(folder: Path) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz.,"
    words = [
        "<|startoftext|>",
        "<|endoftext|>",
        *letters,
        *(f"{letter}</w>" for letter in letters),
        "sh",
        "shi",
        "ship</w>",
    ]
    _write(folder / "vocab.json", {word: index for index, word in enumerate(words)})
    (folder / "merges.txt").write_text("#version: 0.2\ns h\nsh i\nshi p</w>\n", encoding="utf-8")
    marks = {"bos_token": words[0], "eos_token": words[1], "pad_token": words[1], "unk_token": words[1]}
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "CLIPTokenizer", "model_max_length": 32, **marks})


def _bert_tokenizer(folder: Path) -> None:
    """BERT's marks have to have BERT's ids: Grounding DINO knows them by number."""
    words = [f"[unused{index}]" for index in range(1030)]
    for index, mark in {
        0: "[PAD]",
        100: "[UNK]",
        101: "[CLS]",
        102: "[SEP]",
        103: "[MASK]",
        1012: ".",
        1029: "?",
    }.items():
        words[index] = mark
    words += ["the", "ship", "##s", "on", "left", "right", "small", "of", "bridge"]
    (folder / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    _write(folder / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer", "do_lower_case": True})


@pytest.fixture(scope="session")
def sam3_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAM 3 as `Sam3Model` saves it, its tokenizer in one file."""
    torch.manual_seed(0)
    folder = save_stirred(Sam3Model(Sam3Config(**SAM3)), tmp_path_factory.mktemp("peers") / "sam3")
    files = folder.with_name("tokenizer")
    files.mkdir()
    _clip_tokenizer(files)
    CLIPTokenizer.from_pretrained(files, local_files_only=True).save_pretrained(folder)
    half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    _write(folder / "preprocessor_config.json", {**STEPS, **half, "size": {"height": 112, "width": 112}})
    return folder


@pytest.fixture(scope="session")
def sam3_video_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAM 3 as its repository has it: the video model, slow tokenizer files, image processor inside the processor's."""
    tracker = {
        "model_type": "sam3_tracker_video",
        "vision_config": SAM3["vision_config"],
        "prompt_encoder_config": {"hidden_size": 32, "image_size": 112, "patch_size": 14, "mask_input_channels": 4},
        "mask_decoder_config": MASK_DECODER,
        "image_size": 112,
        **MEMORY,
    }
    torch.manual_seed(0)
    config = Sam3VideoConfig(
        detector_config={"model_type": "sam3", **SAM3}, tracker_config=tracker, low_res_mask_size=32
    )
    folder = save_stirred(Sam3VideoModel(config), tmp_path_factory.mktemp("peers") / "sam3-video")
    _clip_tokenizer(folder)
    processor = {
        **STEPS,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "image_processor_type": "Sam3ImageProcessorFast",
    }
    _write(folder / "processor_config.json", {"image_processor": processor, "processor_class": "Sam3VideoProcessor"})
    return folder


@pytest.fixture(scope="session")
def grounded_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grounding DINO and SAM 2, each as its repository has it; SAM 2's holds the video model."""
    folder = tmp_path_factory.mktemp("peers") / "grounded"
    torch.manual_seed(0)
    detector = save_stirred(
        GroundingDinoForObjectDetection(GroundingDinoConfig(**GROUNDING_DINO)), folder / "grounding-dino"
    )
    _bert_tokenizer(detector)
    size = {"size": {"shortest_edge": 64, "longest_edge": 96}}
    _write(detector / "preprocessor_config.json", {**STEPS, **IMAGENET, **size, "do_pad": True})
    masks = save_stirred(Sam2VideoModel(Sam2VideoConfig(**SAM2, image_size=128, **MEMORY)), folder / "sam2")
    _write(masks / "preprocessor_config.json", {**STEPS, **IMAGENET, "size": {"height": 128, "width": 128}})
    _write(masks / "processor_config.json", {"processor_class": "Sam2VideoProcessor", "target_size": 128})
    return folder


@pytest.fixture(scope="session")
def sam2_image_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAM 2 as `Sam2Model` saves it, without any word about its images."""
    return save_sam2(tmp_path_factory.mktemp("peers") / "sam2")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """A copy of a folder, to be damaged."""

    def copy(source: Path) -> Path:
        return Path(shutil.copytree(source, tmp_path / source.name))

    return copy


@pytest.fixture(scope="session")
def photos() -> list[NDArray[np.uint8]]:
    """Images of three sizes, smooth as photographs are."""
    noise = np.random.default_rng(0)
    images = []
    for height, width in ((64, 96), (90, 70), (112, 112)):
        coarse = torch.from_numpy(noise.uniform(0, 255, (1, 3, 5, 5)))
        fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic").clamp(0, 255)
        images.append(fine[0].permute(1, 2, 0).numpy().astype(np.uint8))
    return images
