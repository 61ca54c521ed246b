"""`refersat train`: what is told before, during and after a run. The runs themselves are in tests/training."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refersat.cli.main import main
from refersat.training.interruption import Stopped
from refersat.training.recipe import Recipe
from refersat.training.recipe_files import shipped_recipes

DATA = ["--set", "data.annotations=train.json", "--set", "data.images=images"]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the training loop would have been asked to do; it reports one step."""
    asked: list[dict[str, Any]] = []

    def train(
        recipe: Recipe,
        out: Path,
        *,
        resume: bool,
        report: Callable[[int, dict[str, float]], None],
        tell: Callable[[str], None],
    ) -> Path:
        asked.append({"recipe": recipe, "out": out, "resume": resume})
        tell("trunk  1.23 M  frozen  [from] sam2.pt")
        report(1, {"loss": 0.125, "views/s": 8.0, "steps": 4})
        tell("step 1: mIoU 12.34, oIoU 23.45, 6 phrases")
        return out / "model"

    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    monkeypatch.setattr("refersat.training.loop.train", train)
    return asked


def test_a_run_goes_to_a_folder_of_its_name(runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "built-in", *DATA, "--set", "optimizer.learning_rate=1e-4"]) == 0
    (asked,) = runs
    assert asked["out"] == Path("runs/built-in")
    assert asked["resume"] is False
    assert asked["recipe"].optimizer.learning_rate == 1e-4
    assert asked["recipe"].data.images == Path("images")
    told = capsys.readouterr()
    assert told.out == f"trained model: {Path('runs/built-in/model')}\n"
    assert "1/4 loss 0.125  8.0 images/s" in told.err
    assert "trunk  1.23 M  frozen  [from] sam2.pt\n" in told.err
    assert "step 1: mIoU 12.34, oIoU 23.45, 6 phrases\n" in told.err


def test_another_folder_and_resuming(runs: list[dict[str, Any]], tmp_path: Path) -> None:
    assert main(["train", "built-in", *DATA, "--out", str(tmp_path / "mine"), "--resume"]) == 0
    assert (runs[0]["out"], runs[0]["resume"]) == (tmp_path / "mine", True)


def test_the_whole_recipe_is_printed(runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "built-in", *DATA, "--set", "seed=5", "--print-recipe"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["seed"] == 5
    assert set(printed) == set(Recipe.model_fields)
    assert runs == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["built-in"], "recipe built-in: data.annotations: is required"),
        (
            ["built-in", *DATA, "--set", "optimiser.clip=1"],
            "optimiser: there is no such field; did you mean optimizer?",
        ),
        (["built-in", *DATA, "--set", "seed"], "--set takes FIELD=VALUE"),
        (["nowhere.yaml"], "cannot read the recipe nowhere.yaml"),
    ],
)
def test_a_mistake_is_one_line(
    runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["train", *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert message in told.err
    assert told.err.count("\n") == 1
    assert runs == []


def test_missing_data_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    assert main(["train", "built-in", *DATA, "--out", str(tmp_path / "run")]) == 2
    told = capsys.readouterr().err
    assert told.startswith("refersat: error: train.json: no such file")
    assert told.count("\n") == 1  # no bar, not even an empty one
    assert not (tmp_path / "run").exists()


def test_a_stop_says_how_to_go_on(
    runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def train(*_: Any, **__: Any) -> Path:
        raise Stopped("stopped after 7 of 9 steps")

    monkeypatch.setattr("refersat.training.loop.train", train)
    assert main(["train", "built-in", *DATA]) == 130
    told = capsys.readouterr()
    assert "stopped after 7 of 9 steps; the state is saved, --resume goes on" in told.err
    assert told.out == ""


def test_the_packages_for_training_are_optional(
    runs: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    assert main(["train", "built-in", *DATA]) == 2
    assert "pip install 'refersat[train]'" in capsys.readouterr().err
    assert main(["train", "built-in", *DATA, "--print-recipe"]) == 0


def test_the_help_shows_commands_that_work(runs: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--help"]) == 0
    shown = capsys.readouterr().out
    text = re.sub(r"\\\n\s*", " ", "\n".join(line.strip() for line in shown.splitlines()))
    commands = [line.split() for line in text.splitlines() if line.startswith("refersat train ")]
    assert [words[2] for words in commands] == ["own-triplets", "rs2sam2-refsegrs", "built-in"]
    for words in commands:
        assert main(words[1:]) == 0
    assert [each["recipe"].name for each in runs] == [words[2] for words in commands]
    assert runs[2]["recipe"].data.validation == Path("runs/val")
    told = re.sub(r"-\s+", "-", " ".join(shown.split()))  # lines may end at a hyphen
    assert f"Recipes that ship: {', '.join(shipped_recipes())}." in told
