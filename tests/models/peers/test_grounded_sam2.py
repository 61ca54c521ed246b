"""Grounding DINO + SAM 2 answer as the two do by themselves, in any company, and see each image once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from transformers import (
    BertTokenizer,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    Sam2Model,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

import refersat
from refersat.models.peers import grounded_sam2
from refersat.models.peers.preparation import Preparation
from refersat.segmenter import Segmenter

Photos = list[NDArray[np.uint8]]
PHRASES = ("the ship on the left", "a small bridge", "Ships. Right?", "the " * 100)


@pytest.fixture(scope="module")
def ask(grounded_source: Path) -> Segmenter:
    return refersat.load(grounded_source, device="cpu")


@cache
def their_detector(folder: Path) -> tuple[Any, Any]:
    """Transformers' own model and processor."""
    model = GroundingDinoForObjectDetection.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = BertTokenizer.from_pretrained(folder, local_files_only=True)
    return model, GroundingDinoProcessor(GroundingDinoImageProcessorPil.from_pretrained(folder), tokenizer)


def expected_box(folder: Path, image: NDArray[np.uint8], phrase: str) -> tuple[list[float], float]:
    """Box in pixels and score of Transformers' own model and processor, the best of all."""
    model, processor = their_detector(folder)
    inputs = processor(images=image, text=f"{phrase.lower()}.", return_tensors="pt")
    with torch.inference_mode():
        output = model(**inputs)
    found = processor.post_process_grounded_object_detection(output, threshold=0.0, target_sizes=[image.shape[:2]])[0]
    best = found["scores"].argmax()
    return found["boxes"][best].tolist(), float(found["scores"][best])


def expected_mask(folder: Path, image: NDArray[np.uint8], box: list[float]) -> NDArray[np.float32]:
    """Probabilities of Transformers' own SAM 2 for one box in pixels."""
    model = Sam2Model.from_pretrained(folder, local_files_only=True).eval()
    height, width = image.shape[:2]
    scaled = torch.tensor(box) * torch.tensor([128 / width, 128 / height] * 2)
    with torch.inference_mode():
        output = model(
            pixel_values=Preparation().to_square(image, 128), input_boxes=scaled[None, None], multimask_output=False
        )
    logits = F.interpolate(output.pred_masks[0], (height, width), mode="bilinear", align_corners=False)[0, 0]
    return logits.sigmoid().numpy()


@pytest.mark.parametrize("phrase", PHRASES[:2])
def test_the_best_box_gives_the_mask(ask: Segmenter, grounded_source: Path, photos: Photos, phrase: str) -> None:
    image = photos[0]  # of the size that the detector wants: two ways of resizing need not agree to the last bit
    box, score = expected_box(grounded_source / "grounding-dino", image, phrase)
    result = ask(image, phrase)
    assert result.score == pytest.approx(score, abs=1e-5)
    assert result.present
    clipped = np.clip(box, 0, [96, 64, 96, 64]).tolist()
    probability = expected_mask(grounded_source / "sam2", image, clipped)
    np.testing.assert_allclose(result.probability, probability, atol=1e-4)
    assert 0.05 < result.mask.mean() < 0.95


def test_below_the_threshold_the_target_is_not_there(
    ask: Segmenter, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = ask(photos[0], PHRASES[0])
    monkeypatch.setattr(grounded_sam2, "BOX_THRESHOLD", 1.0)
    after = ask(photos[0], PHRASES[0])
    assert (before.present, after.present) == (True, False)
    assert not after.mask.any()
    assert after.score == before.score
    np.testing.assert_array_equal(after.probability, before.probability)


def test_a_batch_gives_what_one_by_one_gives(ask: Segmenter, photos: Photos) -> None:
    images = [photos[index] for index in (0, 0, 0, 1, 1, 2, 0)]
    phrases = [PHRASES[index % 4] for index in range(7)]
    alone = [ask(image, phrase) for image, phrase in zip(images, phrases, strict=True)]
    assert len({result.score for result in alone}) == 6  # one is asked twice
    for batch_size in (None, 2, 7):
        for one, other in zip(alone, ask.batch(images, phrases, batch_size=batch_size), strict=True):
            assert (one.phrase, one.present) == (other.phrase, other.present)
            assert one.score == pytest.approx(other.score, abs=1e-5)
            np.testing.assert_allclose(one.probability, other.probability, atol=1e-4)


def test_an_image_is_seen_once_by_each(ask: Segmenter, photos: Photos) -> None:
    answerer: Any = ask._backend.answerer
    seen: dict[str, list[int]] = {"detector": [], "masks": []}
    backbone = answerer._detector.model.model.backbone.conv_encoder.encoder.model
    backbone.register_forward_pre_hook(lambda _, args: seen["detector"].append(len(args[0])))
    encoder = answerer._masks.model.vision_encoder
    encoder.register_forward_pre_hook(lambda _, args: seen["masks"].append(len(args[0])))
    ask.batch([photos[0]] * 3 + [photos[1]], list(PHRASES))
    assert seen == {"detector": [1, 1], "masks": [1, 1]}


@pytest.mark.parametrize("shape", [(1, 40), (300, 2), (500, 400)])
def test_images_of_any_size(ask: Segmenter, shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert ask(image, "the ship").probability.shape == shape


def test_it_computes_in_float32_always(ask: Segmenter, grounded_source: Path, photos: Photos) -> None:
    told = refersat.load(grounded_source, device="cpu", dtype="bfloat16")
    assert told.dtype == torch.float32
    np.testing.assert_array_equal(told(photos[0], PHRASES[0]).probability, ask(photos[0], PHRASES[0]).probability)


def test_sam2_may_be_the_image_model_and_say_nothing_of_its_images(
    grounded_source: Path, sam2_image_source: Path, copied: Callable[[Path], Path], photos: Photos
) -> None:
    folder = copied(grounded_source)
    shutil.rmtree(folder / "sam2")
    shutil.copytree(sam2_image_source, folder / "sam2")
    image = photos[0]
    box, _ = expected_box(folder / "grounding-dino", image, PHRASES[0])
    probability = expected_mask(folder / "sam2", image, np.clip(box, 0, [96, 64, 96, 64]).tolist())
    result = refersat.load(folder, device="cpu")(image, PHRASES[0])
    np.testing.assert_allclose(result.probability, probability, atol=1e-4)


def test_marks_inside_a_phrase_do_not_split_it(ask: Segmenter, photos: Photos) -> None:
    plain = ask(photos[0], "ships right")
    assert ask(photos[0], "Ships. Right?").score == plain.score
    assert ask(photos[0], "ships right.").score == plain.score
