"""Whole runs of a tiny grounder: the loop of every other model trains it, too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from refersat.cli.main import main
from refersat.errors import UserError
from refersat.models.grounding.language_query import LanguageQueryGrounder
from refersat.models.grounding.loading import load_grounder
from refersat.training.dry_run import dry_run
from refersat.training.loop import train
from refersat.training.parts import options_of, part_of
from refersat.training.recipe import Recipe
from tests.data.factories.dior_rsvg import make_dior_rsvg
from tests.training.runs import fingerprint, log_of, losses_of

MakeRecipe = Callable[..., Recipe]
SCORES = {"mIoU", "cumIoU", "count", "presence", *(f"Acc@0.{tenth}" for tenth in range(5, 10))}


@pytest.fixture(scope="module")
def run(make_grounder_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of six steps that saved its state after three."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(make_grounder_recipe(), out)
    return out


def test_what_a_run_writes(run: Path, data_set: SimpleNamespace) -> None:
    log = log_of(run)
    steps = [line for line in log if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    plain = {"step", "loss", "gradient", "rate", "seconds", "categories"}
    assert all(set(line) == plain for line in steps[:2])
    assert all(set(line) == plain | {"focal", "box", "giou", "named"} for line in steps[2:])
    assert all(np.isfinite(list(line.values())).all() for line in steps)
    validations = [line["validation"] for line in log if "validation" in line]
    assert len(validations) == 2
    for scores in validations:
        assert set(scores) >= SCORES
        assert scores["count"] + scores["presence"]["count_absent"] == 4
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 4 * 4
    assert all(set(row) == {"step", "sample", "focal", "box", "giou"} for row in rows)
    assert (run / "curves.png").is_file()
    facts = json.loads((run / "best" / "training.json").read_text())
    assert facts["recipe"]["base"] == "built-in-grounder"

    grounder = load_grounder(run / "best")
    assert isinstance(grounder, LanguageQueryGrounder)
    found = grounder.ground(np.array(Image.open(data_set.images / "0.png")), ["the ship", "the storage tank"])
    assert (found.boxes.shape, found.scores.shape) == ((2, 4), (2,))


def test_a_resumed_run_is_the_same_to_the_bit(run: Path, make_grounder_recipe: MakeRecipe, tmp_path: Path) -> None:
    out = shutil.copytree(run, tmp_path / "again")
    (out / "states" / "step-0000006.pt").unlink()
    train(make_grounder_recipe(), out, resume=True)
    assert losses_of(out) == losses_of(run)
    assert fingerprint(out / "model") == fingerprint(run / "model")


def test_a_grounder_goes_on_from_another(run: Path, make_grounder_recipe: MakeRecipe, tmp_path: Path) -> None:
    stage = {"steps": 1, "image_size": 64, "batch_size": 2}
    start = {"model": str(run / "best")}
    told: list[str] = []
    recipe = make_grounder_recipe(init=start, stages=[stage]).model_copy(update={"model": {}})
    train(recipe, tmp_path / "next", tell=told.append)
    rows = {line.split()[0]: line for line in told if line.split()}
    assert rows["grounder"].endswith(str(run / "best"))
    with pytest.raises(UserError, match="says model_type"):
        train(recipe.model_copy(update={"base": "built-in"}), tmp_path / "other")


def test_a_dry_run_tells_the_parts(make_grounder_recipe: MakeRecipe) -> None:
    recipe = make_grounder_recipe(parts={"image_stem": {"train": False}, "text_network": {"learning_rate": 1e-5}})
    lines = {line.split()[0]: line for line in dry_run(recipe) if line.split()}
    assert "frozen" in lines["image_stem"]
    assert "1e-05" in lines["text_network"]
    assert {"image_network", "grounder", "all", "memory", "time"} <= set(lines)


def test_the_shipped_recipe_runs_dry(data_set: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> None:
    paths = {"annotations": data_set.annotations, "images": data_set.images, "validation": data_set.validation}
    changes = [word for name, path in paths.items() for word in ("--set", f"data.{name}={path}")]
    # The images show no vehicle.
    assert main(["train", "built-in-grounder", *changes, "--set", "data.never_absent=[]", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "150 steps of 6 views of 448 px, 4 phrases each" in told
    assert "memory about" in told


def test_boxes_without_masks_are_enough(make_grounder_recipe: MakeRecipe, tmp_path: Path) -> None:
    folder = make_dior_rsvg(tmp_path / "dior")
    data = {"train": f"dior-rsvg:{folder}", "validation_split": "val"}
    stages = [{"steps": 2, "image_size": 64, "batch_size": 2}]
    train(make_grounder_recipe(data=data, stages=stages), tmp_path / "run")
    scores = next(line["validation"] for line in log_of(tmp_path / "run") if "validation" in line)
    assert scores["count"] == 1
    masks = make_grounder_recipe(data=data, stages=stages).model_copy(update={"base": "built-in", "model": {}})
    with pytest.raises(UserError, match="samples have no mask"):
        train(masks, tmp_path / "masks")


def test_relatives_are_not_measured(make_grounder_recipe: MakeRecipe, tmp_path: Path) -> None:
    data = {"train": "dior-rsvg:here", "validation": "rrsisd:there"}
    stages = [{"steps": 2, "image_size": 64, "batch_size": 2}]
    with pytest.raises(UserError, match=r"dior-rsvg:here is trained on and rrsisd:there is measured.*same images"):
        train(make_grounder_recipe(data=data, stages=stages), tmp_path / "run")


def test_every_parameter_has_a_part_that_the_recipe_knows(make_grounder_recipe: MakeRecipe) -> None:
    from refersat.models.grounding.model import GroundingModel
    from tests.models.tiny_grounder import PAPERS, tiny_grounder_config

    parts = make_grounder_recipe().parts
    for changes in ({}, PAPERS):
        model = GroundingModel(tiny_grounder_config(**changes))
        found = {part_of(name) for name, _ in model.named_parameters()}
        assert found == {"image_stem", "image_network", "text_network", "grounder"}
        assert all(options_of(name, parts).train for name, _ in model.named_parameters())
