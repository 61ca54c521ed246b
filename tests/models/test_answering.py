"""RS2-SAM 2 answers about several images with several phrases each as it does one by one, and shares their work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from refersat.models.answering import Answer, RS2Sam2Answerer
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.tokenizer import PhraseTokenizer

PHRASES = ("the a ship", "the b ship on the left", "ship", "the a ship on the right on the left")


@pytest.fixture(params=[("bi", 0), ("bi", 4), ("none", 0)], ids=["hears from the first block", "later", "never"])
def answerer(
    request: pytest.FixtureRequest, tiny_config: RS2Sam2Config, tiny_model: RS2Sam2Model, tokenizer_file: Path
) -> RS2Sam2Answerer:
    """The tiny model, its trunk hearing the phrase from different blocks on."""
    fusion, first = request.param
    config = RS2Sam2Config(**{**tiny_config.to_dict(), "block_fusion": fusion, "fusion_from_block": first})
    model = RS2Sam2Model(config).eval()
    weights = tiny_model.state_dict()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    tokenizer = PhraseTokenizer(tokenizer_file, max_length=config.max_text_length)
    return RS2Sam2Answerer(model, tokenizer, device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.uint8]]:
    noise = np.random.default_rng(0)
    return [noise.integers(0, 256, (40 + 20 * k, 50, 3), dtype=np.uint8) for k in range(3)]


def ask(answerer: RS2Sam2Answerer, images: list[NDArray[np.uint8]], counts: tuple[int, ...]) -> list[Answer]:
    """The first image with so many phrases, the second with so many, and so on."""
    asked = [[PHRASES[(index + k) % 4] for index in range(count)] for k, count in enumerate(counts)]
    with torch.inference_mode():
        return answerer.answer(images[: len(counts)], asked)


@pytest.mark.parametrize(
    ("counts", "seen"), [((1,), 1), ((4,), 1), ((2, 2), 2), ((1, 1, 1), 3), ((4, 2), 3), ((3, 2), 5), ((1, 3, 2), 6)]
)
def test_in_company_as_alone(
    answerer: RS2Sam2Answerer, images: list[NDArray[np.uint8]], counts: tuple[int, ...], seen: int
) -> None:
    looked: list[int] = []
    answerer.model.trunk.patch_embed.register_forward_pre_hook(lambda _, args: looked.append(len(args[0])))
    together = ask(answerer, images, counts)
    assert looked == [seen]
    alone = []
    for k, count in enumerate(counts):
        for index in range(count):
            with torch.inference_mode():
                alone += answerer.answer([images[k]], [[PHRASES[(index + k) % 4]]])
    assert len(together) == len(alone) == sum(counts)
    for one, other in zip(alone, together, strict=True):
        assert one.logits.shape == other.logits.shape == (1, 64, 64)
        torch.testing.assert_close(one.logits, other.logits, atol=1e-5, rtol=0)
        assert (one.present, one.score) == (True, None)
        assert (other.present, other.score) == (True, None)
    spread = float(torch.stack([answer.logits for answer in alone]).std())
    assert spread > 0.1  # the tolerance above means something


def test_phrases_make_a_difference(answerer: RS2Sam2Answerer, images: list[NDArray[np.uint8]]) -> None:
    one, other = ask(answerer, images, (2,))
    assert (one.logits - other.logits).abs().max() > 0.01


def test_the_object_score_decides_where_the_model_has_it(
    answerer: RS2Sam2Answerer, images: list[NDArray[np.uint8]]
) -> None:
    config: Any = answerer.model.config
    config.presence = "object_score"
    scores = [answer.score for answer in ask(answerer, images, (2, 2))]
    assert all(score is not None and 0 <= score <= 1 for score in scores)
    config.presence_threshold = sorted(scores)[2]  # type: ignore[type-var]
    assert sum(answer.present for answer in ask(answerer, images, (2, 2))) == 2
