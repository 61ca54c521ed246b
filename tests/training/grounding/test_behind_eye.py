"""A grounder behind an eye: it begins with the selector's word and the objects' boxes, and learns from what it saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from refersat.models.grounding.boxes import to_centres
from refersat.models.grounding.loading import load_grounder
from refersat.models.grounding.model import GroundingConfig, GroundingModel
from refersat.models.selection import NOT_MEANT
from refersat.models.sightings import Objects
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.dry_run import dry_run
from refersat.training.loop import train
from refersat.training.recipe import Recipe
from tests.models.tiny_eye import eye_model_config, save_eye_model
from tests.training.runs import log_of

TINY = {"hidden_size": 32, "heads": 2, "points": 2, "feed_forward": 32, "queries": 3, "text_width": 16}
IDS = torch.tensor([[0, 11, 12, 2], [0, 21, 2, 3]])
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]).bool()


def fresh(**changes: Any) -> GroundingModel:
    torch.manual_seed(0)
    return GroundingModel(GroundingConfig.behind_eye(eye_model_config().to_dict(), **TINY, **changes)).eval()


def some_objects() -> Objects:
    boxes = torch.tensor([[[0.1, 0.1, 0.3, 0.2], [0.5, 0.5, 0.7, 0.9], [0.0, 0.0, 0.0, 0.0]]])
    features = torch.randn(1, 3, 8, generator=torch.Generator().manual_seed(1))
    return Objects(features, boxes, torch.tensor([[0.9, 0.8, 0.0]]))


@torch.no_grad()
def test_a_fresh_one_says_what_its_selector_says() -> None:
    model, objects = fresh(answer="best"), some_objects()
    maps = model.look(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    output = model.ground(maps, torch.ones(1, 2), IDS, MASK, objects)
    judged = model.selector.choose(objects, IDS, MASK)
    torch.testing.assert_close(output.query_logits[-1][:, :3], judged)
    assert (output.query_logits[-1][:, 3:-3] == NOT_MEANT).all()
    torch.testing.assert_close(output.query_boxes[-1][:, :2], to_centres(objects.boxes[:, :2]).expand(2, -1, -1))
    chosen = judged.argmax(1)
    torch.testing.assert_close(output.boxes, objects.boxes[0][chosen], atol=1e-4, rtol=1e-4)
    alone = model.ground(maps, torch.ones(1, 2), IDS[1:, :3], MASK[1:, :3], objects)
    torch.testing.assert_close(alone.query_logits, output.query_logits[:, 1:], atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_a_hull_goes_around_all_that_are_meant() -> None:
    model, objects = fresh(), some_objects()
    maps = model.look(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    model.selector.meant.bias.fill_(5.0)
    output = model.ground(maps, torch.ones(1, 2), IDS, MASK, objects)
    assert output.parts[:, :3].tolist() == [[True, True, False]] * 2
    torch.testing.assert_close(output.boxes[0], torch.tensor([0.1, 0.1, 0.7, 0.9]), atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def recipe(
    make_grounder_recipe: Callable[..., Recipe], tokenizer: PhraseTokenizer, tmp_path_factory: pytest.TempPathFactory
) -> Recipe:
    """A stage on what was found, and one on what was seen."""
    folder = tmp_path_factory.mktemp("eye")
    tokenizer.save(folder / "words")
    words = folder / "words" / "sentencepiece.bpe.model"
    eye = save_eye_model(folder / "model", words, vocab_size=300, max_text_length=32, text_positions=34)
    stage = {"once": True, "views": 6, "steps": 3, "image_size": 64, "batch_size": 2, "phrases_per_view": 2}
    made = make_grounder_recipe(
        init={"model": str(eye)}, stages=[{**stage, "only": "selection"}, stage], loss={"categories": 0}
    )
    return Recipe.model_validate({**made.model_dump(), "model": TINY})


def test_a_run(recipe: Recipe, data_set: SimpleNamespace, tmp_path: Path) -> None:
    assert any("image_network" in line and "frozen" in line for line in dry_run(recipe))
    train(recipe, tmp_path / "run")
    steps = [line for line in log_of(tmp_path / "run") if "loss" in line]
    assert ["selection" in line for line in steps] == [True] * 3 + [False] * 3
    assert all({"focal", "box", "giou", "objects", "named"} <= set(line) for line in steps[3:])
    grounder = load_grounder(tmp_path / "run" / "model")
    found = grounder.ground(np.zeros((40, 60, 3), np.uint8), ["the ship", "all storage tanks"])
    assert found.boxes.shape == (2, 4)
    assert found.parts is not None
    assert all(len(each) >= 1 for each in found.parts)
    # and once more from where it ended, behind the same eye
    again = recipe.model_copy(
        update={"init": recipe.init.model_copy(update={"model": str(tmp_path / "run" / "model")})}
    )
    train(again.model_copy(update={"model": {}}), tmp_path / "again")
