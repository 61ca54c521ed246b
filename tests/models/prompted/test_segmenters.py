"""Promptable networks answer as Transformers' own do, prompts matter, and nothing depends on the company."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from transformers import Sam2Model, SamModel

from refersat.errors import UserError
from refersat.models.grounding.letterbox import letterbox
from refersat.models.peers.preparation import Preparation
from refersat.models.prompted.compact import CompactSamConfig, CompactSamModel
from refersat.models.prompted.loading import load_prompted
from refersat.models.prompted.segmenter import PromptedSegmenter, parameters_of
from tests.models.tiny_eye import save_eye_model
from tests.models.tiny_rs2sam2 import make_model
from tests.models.tiny_sam import save_sam1, save_sam2, save_stirred

CPU = torch.device("cpu")
BOXES = torch.tensor([[0.1, 0.2, 0.5, 0.7], [0.3, 0.0, 1.0, 0.9], [0.6, 0.6, 0.7, 0.8]])
POINTS = torch.tensor([[0.3, 0.4], [0.7, 0.3], [0.65, 0.7]])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, tokenizer_file: Path) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("prompted")
    own = folder / "own"
    make_model(image_size=64, vocab_size=80).save_pretrained(own)
    (own / "sentencepiece.bpe.model").write_bytes(tokenizer_file.read_bytes())
    save_eye_model(folder / "eye", tokenizer_file, vocab_size=80)
    eye = json.loads((folder / "eye" / "config.json").read_text())
    torch.manual_seed(0)
    compact = CompactSamModel(CompactSamConfig(eye=eye, eye_model="../eye", hidden_size=32, feed_forward=32))
    return {
        "sam2": save_sam2(folder / "sam2"),
        "sam1": save_sam1(folder / "sam1"),
        "own": own,
        "compact": save_stirred(compact, folder / "compact"),
    }


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    noise = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (1, 3, 6, 6)))
    fine = F.interpolate(noise, (60, 90), mode="bicubic").clamp(0, 255)
    return fine[0].permute(1, 2, 0).numpy().astype(np.uint8)


def masks(segmenter: PromptedSegmenter, image: NDArray[np.uint8], points: Tensor | None = POINTS) -> Tensor:
    with torch.inference_mode():
        return segmenter.segment(segmenter.see(image), BOXES, points)


@pytest.mark.parametrize("kind", ["sam2", "sam1", "own", "compact"])
def test_each_prompt_is_answered_as_if_it_were_alone(
    kind: str, folders: dict[str, Path], image: NDArray[np.uint8]
) -> None:
    segmenter = load_prompted(folders[kind], device=CPU)
    together = masks(segmenter, image)
    assert together.shape[0] == 3
    assert parameters_of(segmenter) > 1000
    seen = segmenter.see(image)
    with torch.inference_mode():
        for index in range(3):
            alone = segmenter.segment(seen, BOXES[index : index + 1], POINTS[index : index + 1])
            torch.testing.assert_close(alone[0], together[index], atol=1e-4, rtol=1e-4)
    assert (together[0] - together[1]).abs().max() > 1e-3
    without = masks(segmenter, image, None)
    assert (without - together).abs().max() > 1e-3
    moved = masks(segmenter, image, POINTS.flip(0))
    assert (moved - together).abs().max() > 1e-3


@pytest.mark.parametrize("kind", ["sam2", "sam1", "own", "compact"])
def test_the_mask_decoder_alone_can_learn(kind: str, folders: dict[str, Path], image: NDArray[np.uint8]) -> None:
    segmenter = load_prompted(folders[kind], device=CPU)
    segmenter.network.requires_grad_(False)
    segmenter.mask_decoder.requires_grad_(True)
    segmenter.segment(segmenter.see(image), BOXES, POINTS).square().mean().backward()
    learning = {
        name for name, each in segmenter.network.named_parameters() if each.grad is not None and each.grad.any()
    }
    assert learning
    assert all(name.startswith("mask_decoder") for name in learning)


def test_sam2_answers_as_transformers_does(folders: dict[str, Path], image: NDArray[np.uint8]) -> None:
    model = Sam2Model.from_pretrained(folders["sam2"], local_files_only=True).eval()
    with torch.inference_mode():
        theirs = model(
            pixel_values=Preparation().to_square(image, 128),
            input_boxes=BOXES[None] * 128,
            input_points=POINTS[None, :, None] * 128,
            input_labels=torch.ones(1, 3, 1, dtype=torch.int32),
            multimask_output=False,
        ).pred_masks[0, :, 0]
    torch.testing.assert_close(masks(load_prompted(folders["sam2"], device=CPU), image), theirs, atol=1e-4, rtol=1e-4)


def test_sam1_answers_as_transformers_does(folders: dict[str, Path], image: NDArray[np.uint8]) -> None:
    model = SamModel.from_pretrained(folders["sam1"], local_files_only=True).eval()
    pixels, _ = letterbox([image], 128)
    size = torch.tensor([128.0, 85.0])  # 90 x 60 with its longer side at 128
    with torch.inference_mode():
        theirs = model(
            pixel_values=pixels,
            input_boxes=BOXES[None] * size.repeat(2),
            input_points=POINTS[None, :, None] * size,
            input_labels=torch.ones(1, 3, 1, dtype=torch.int32),
            multimask_output=False,
        ).pred_masks[0]
    whole = F.interpolate(theirs, (128, 128), mode="bilinear", align_corners=False)[:, 0, :85]
    torch.testing.assert_close(masks(load_prompted(folders["sam1"], device=CPU), image), whole, atol=1e-4, rtol=1e-4)


def test_our_trunk_sees_without_a_phrase_what_it_sees_before_one(image: NDArray[np.uint8]) -> None:
    from refersat.models.prompted.own import OwnSam

    plain = make_model(block_fusion="none", encoder_fusion=False, mask_prompt="none", boundary_scalar=False)
    seen = OwnSam(plain).see(image)
    pixels = torch.zeros(1, 3, 32, 32)
    ids = torch.tensor([[0, 5, 2]])
    from refersat.models.preprocess import square_view

    with torch.inference_mode():
        view = square_view(image, 64, antialias=plain.config.resize_antialias)
        output = plain(view, pixels, ids, torch.ones_like(ids))
    torch.testing.assert_close(seen.levels[-1], output.image_embedding, atol=1e-5, rtol=1e-5)


def test_other_folders_are_refused(tmp_path: Path, folders: dict[str, Path]) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError, match='model_type "bert"; masks from boxes and points come from sam2'):
        load_prompted(tmp_path, device=CPU)
    with pytest.raises(UserError, match=r"has no config\.json"):
        load_prompted(tmp_path / "nothing", device=CPU)
