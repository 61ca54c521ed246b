"""SAM 3 answers as its own network and its authors' rules say, in any company, and sees each image once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from transformers import CLIPTokenizer, Sam3Model

import refersat
from refersat.models.peers import sam3
from refersat.segmenter import Segmenter

Photos = list[NDArray[np.uint8]]
PHRASES = ("the ship on the left", "a bridge", "Ships, small", "x " * 100)


@pytest.fixture(scope="module")
def ask(sam3_source: Path) -> Segmenter:
    return refersat.load(sam3_source, device="cpu", dtype="float32")


@cache
def theirs(folder: Path) -> tuple[Any, Any]:
    """Transformers' own model and tokenizer."""
    model = Sam3Model.from_pretrained(folder, local_files_only=True).eval()
    return model, CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def expected(folder: Path, image: NDArray[np.uint8], phrase: str) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Mask logits (N, h, w), scores (N,) and presence of Transformers' own model, asked the plain way."""
    model, tokenizer = theirs(folder)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
    pixels = F.interpolate(pixels, (112, 112), mode="bilinear", antialias=True).float() / 127.5 - 1
    text = tokenizer(phrase, padding="max_length", max_length=32, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        out = model(pixel_values=pixels, input_ids=text["input_ids"], attention_mask=text["attention_mask"])
    presence = out.presence_logits.sigmoid()
    return out.pred_masks[0], (out.pred_logits.sigmoid() * presence)[0], float(presence)


@pytest.mark.parametrize("phrase", PHRASES)
@pytest.mark.parametrize("instances", [0, 1, 3])
def test_the_mask_is_the_union_of_the_instances_that_count(
    ask: Segmenter, sam3_source: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch, phrase: str, instances: int
) -> None:
    image = photos[1]
    masks, scores, presence = expected(sam3_source, image, phrase)
    ordered = scores.sort(descending=True).values
    threshold = 1.0 if not instances else float(ordered[instances - 1 : instances + 1].mean())
    monkeypatch.setattr(sam3, "INSTANCE_THRESHOLD", threshold)

    result = ask(image, phrase)

    shown = masks[scores > threshold] if instances else masks[scores.argmax()][None]
    each = F.interpolate(shown[None], image.shape[:2], mode="bilinear", align_corners=False)[0].sigmoid()
    np.testing.assert_allclose(result.probability, each.amax(0), atol=1e-5)
    union = (each > 0.5).any(0).numpy()
    assert 0.05 < union.mean() < 0.95
    assert result.present is bool(instances)
    assert (result.mask != (union if instances else np.zeros_like(union))).mean() < 1e-3
    assert result.score == pytest.approx(presence, abs=1e-5)


def test_phrases_and_images_make_a_difference(ask: Segmenter, photos: Photos) -> None:
    results = [ask(image, phrase) for image in photos[:2] for phrase in PHRASES[:2]]
    assert len({result.score for result in results}) == 4


def test_a_batch_gives_what_one_by_one_gives(ask: Segmenter, photos: Photos) -> None:
    images = [photos[index] for index in (0, 0, 0, 1, 1, 2, 0)]
    phrases = [PHRASES[index % 4] for index in range(7)]
    alone = [ask(image, phrase) for image, phrase in zip(images, phrases, strict=True)]
    for batch_size in (None, 2, 7):
        for one, other in zip(alone, ask.batch(images, phrases, batch_size=batch_size), strict=True):
            assert (one.phrase, one.present) == (other.phrase, other.present)
            assert one.score == pytest.approx(other.score, abs=1e-5)
            np.testing.assert_allclose(one.probability, other.probability, atol=1e-4)


def test_an_image_is_seen_once_for_all_its_phrases(
    ask: Segmenter, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = ask._backend.answerer._model  # type: ignore[attr-defined]
    seen = []
    encoder = model.vision_encoder.forward
    monkeypatch.setattr(
        model.vision_encoder, "forward", lambda pixels, **kw: seen.append(len(pixels)) or encoder(pixels)
    )
    ask.batch([photos[0]] * 3 + [photos[1]], list(PHRASES))
    assert seen == [1, 1]


@pytest.mark.parametrize("side", [1, 500])
def test_images_of_any_size(ask: Segmenter, side: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (side, 40, 3), dtype=np.uint8)
    assert ask(image, "the ship").probability.shape == (side, 40)


def test_the_released_layout_holds_the_same_model(ask: Segmenter, sam3_video_source: Path, photos: Photos) -> None:
    released = refersat.load(sam3_video_source, device="cpu", dtype="float32")
    assert ask.parameters == released.parameters
    one, other = ask(photos[0], PHRASES[0]), released(photos[0], PHRASES[0])
    np.testing.assert_allclose(one.probability, other.probability, atol=1e-6)
    assert one.score == pytest.approx(other.score)


def test_bfloat16(ask: Segmenter, sam3_source: Path, photos: Photos) -> None:
    rough = refersat.load(sam3_source, device="cpu", dtype="bfloat16")
    assert rough.dtype == torch.bfloat16
    exact, half = ask(photos[0], PHRASES[0]), rough(photos[0], PHRASES[0])
    assert half.score == pytest.approx(exact.score, abs=0.03)
    assert np.abs(half.probability - exact.probability).mean() < 0.03
