"""Three kinds of grounders keep to one interface, and are loaded by what lies in their folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from refersat.errors import UserError
from refersat.models.answering import Answer, RS2Sam2Answerer
from refersat.models.grounding.grounder import Grounded, Grounder
from refersat.models.grounding.language_query import LanguageQueryGrounder
from refersat.models.grounding.loading import load_grounder
from refersat.models.grounding.mask_box import MaskGrounder
from refersat.models.grounding.model import GroundingModel
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.text.tokenizer import PhraseTokenizer

PHRASES = ["the a ship on the left", "ship", "the b ship on the right on the left"] * 4
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (50, 90, 3), dtype=np.uint8)


@pytest.fixture
def folder(make_grounder: Callable[..., GroundingModel], tokenizer_file: Path, tmp_path: Path) -> Path:
    """A tiny grounder as a run saves it: in half precision."""
    model = make_grounder()
    model.save_pretrained(tmp_path, state_dict={name: each.half() for name, each in model.state_dict().items()})
    PhraseTokenizer(tokenizer_file).save(tmp_path)
    return tmp_path


def check(found: Grounded, count: int) -> None:
    assert (found.boxes.shape, found.scores.shape) == ((count, 4), (count,))
    assert found.boxes.dtype == found.scores.dtype == torch.float32
    assert ((found.boxes >= 0) & (found.boxes <= 1)).all()
    assert (found.boxes[:, :2] <= found.boxes[:, 2:]).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()


def test_phrases_are_answered_as_alone_and_the_image_is_seen_once(folder: Path, image: NDArray[np.uint8]) -> None:
    grounder = load_grounder(folder)
    assert isinstance(grounder, LanguageQueryGrounder)
    assert grounder.model.dtype == torch.float32
    assert grounder.parameters == sum(parameter.numel() for parameter in grounder.model.parameters())
    seen: list[int] = []
    grounder.model.image_network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    found = grounder.ground(image, PHRASES)
    assert seen == [1]
    check(found, 12)
    for number, phrase in enumerate(PHRASES[:3]):
        alone = grounder.ground(image, [phrase])
        torch.testing.assert_close(found.boxes[number : number + 1], alone.boxes, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found.scores[number : number + 1], alone.scores, atol=1e-4, rtol=1e-4)
    assert len(set(found.scores[:3].tolist())) == 3


def test_folders_that_cannot_be(folder: Path, tokenizer_file: Path) -> None:
    (folder / "sentencepiece.bpe.model").unlink()
    with pytest.raises(UserError, match="cannot read the tokenizer"):
        load_grounder(folder)
    PhraseTokenizer(tokenizer_file).save(folder)
    description = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**description, "vocab_size": 20}))
    with pytest.raises(UserError, match=r"cannot be loaded|belongs to another model"):
        load_grounder(folder)
    (folder / "config.json").write_text(json.dumps({**description, "model_type": "bert"}))
    with pytest.raises(UserError, match="model_type"):
        load_grounder(folder)
    with pytest.raises(UserError, match="says model_type bert, not refersat-grounder"):
        LanguageQueryGrounder.load(folder, device=CPU)


class Painter:
    """Answers with masks that it was given."""

    parameters, dtype, mask_threshold, phrases_at_once = 7, torch.float32, 0.0, 2
    images_at_once = 1

    def __init__(self, masks: Sequence[NDArray[np.bool_]], score: float | None = None) -> None:
        self.masks, self.score, self.asked = list(masks), score, 0

    def probability(self, logits: torch.Tensor) -> torch.Tensor:
        return logits.sigmoid()

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Answer]:
        self.asked += 1
        masks = [self.masks.pop(0) for _ in phrases[0]]
        return [Answer(torch.from_numpy(mask * 4.0 - 2.0)[None], present=True, score=self.score) for mask in masks]


def painted(*boxes: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    mask = np.zeros((20, 40), bool)
    for x0, y0, x1, y1 in boxes:
        mask[y0:y1, x0:x1] = True
    return mask


def test_the_box_of_a_mask(image: NDArray[np.uint8]) -> None:
    masks = [painted((4, 5, 20, 15)), painted((0, 0, 40, 20)), painted((2, 2, 10, 10), (39, 19, 40, 20))]
    found = MaskGrounder(Painter(masks)).ground(image, PHRASES[:3])
    check(found, 3)
    expected = [[0.1, 0.25, 0.5, 0.75], [0, 0, 1, 1], [0.05, 0.1, 1, 1]]
    torch.testing.assert_close(found.boxes, torch.tensor(expected))
    assert found.scores.tolist() == pytest.approx([1 / (1 + np.exp(-2))] * 3)
    answerer = Painter(masks, score=0.25)
    grounder: Grounder = MaskGrounder(answerer, around="largest")
    found = grounder.ground(image, PHRASES[:3])
    assert found.boxes[2].tolist() == pytest.approx([0.05, 0.1, 0.25, 0.5])
    assert found.scores.tolist() == [0.25] * 3
    assert (grounder.parameters, answerer.asked) == (7, 2)


def test_an_empty_mask_has_the_box_of_its_most_probable_pixel_and_a_low_score(image: NDArray[np.uint8]) -> None:
    answerer = Painter([])
    logits = torch.full((1, 20, 40), -5.0)
    logits[0, 3, 7] = -4.0
    answerer.answer = lambda images, phrases: [Answer(logits, present=False, score=None)]  # type: ignore[method-assign]
    found = MaskGrounder(answerer).ground(image, ["ship"])
    torch.testing.assert_close(found.boxes, torch.tensor([[7 / 40, 3 / 20, 8 / 40, 4 / 20]]))
    assert found.scores.item() < 0.05


def test_any_segmentation_model_is_a_grounder(
    own_folder: Path, tiny_model: RS2Sam2Model, image: NDArray[np.uint8]
) -> None:
    grounder = load_grounder(own_folder)
    assert isinstance(grounder, MaskGrounder)
    assert isinstance(grounder._answerer, RS2Sam2Answerer)
    assert grounder.parameters == sum(parameter.numel() for parameter in tiny_model.parameters())
    check(grounder.ground(image, PHRASES[:2]), 2)
