"""The folder of a run: whole at every moment, whatever is in the way of writing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from refersat.errors import UserError
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.tokenizer import TOKENIZER_FILE, PhraseTokenizer, train_tokenizer
from refersat.training.recipe import Recipe
from refersat.training.run_folder import FACTS_FILE, RunFolder

FILES = {"config.json", "model.safetensors", FACTS_FILE, TOKENIZER_FILE}


class Killed(BaseException):
    """Nothing of the code that writes a model catches it."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> PhraseTokenizer:
    return train_tokenizer(["the red ship on the left"], tmp_path_factory.mktemp("tokenizer"), 40)


@pytest.fixture
def model(tiny_config: Callable[..., RS2Sam2Config]) -> RS2Sam2Model:
    return RS2Sam2Model(tiny_config())


def fill(model: RS2Sam2Model, value: float) -> RS2Sam2Model:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(value)
    return model


def value_in(folder: Path) -> float:
    """Of every weight there, and of the facts if there are any; both are the same."""
    assert set(FILES) - {FACTS_FILE} <= {path.name for path in folder.iterdir()} <= set(FILES)
    weights = load_file(folder / "model.safetensors")
    (value,) = {tensor.flatten()[0].item() for name, tensor in weights.items() if name.endswith(".bias")}
    facts = folder / FACTS_FILE
    assert not facts.exists() or json.loads(facts.read_text())["value"] == value
    return float(value)


@pytest.mark.parametrize("best", [False, True])
def test_killed_at_any_file_a_whole_model_is_there(
    model: RS2Sam2Model, tokenizer: PhraseTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, best: bool
) -> None:
    folder = RunFolder(tmp_path)
    folder.save_model(fill(model, 1.0), tokenizer, {"value": 1.0}, best=True)
    fill(model, 2.0)
    seen = set()
    for allowed in range(40):
        left = allowed

        def counted(original: Callable[..., Any]) -> Callable[..., Any]:
            def move(self: Path, *words: Any, **named: Any) -> Any:
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return original(self, *words, **named)

            return move

        with monkeypatch.context() as patch:
            for name in ("replace", "rename", "unlink"):
                patch.setattr(Path, name, counted(getattr(Path, name)))
            try:
                folder.save_model(model, tokenizer, {"value": 2.0}, best=best)
                whole = True
            except Killed:
                whole = False
        seen.add((value_in(folder.model), value_in(folder.best)))
        if whole:
            break
    assert whole
    assert seen == ({(1.0, 1.0), (1.0, 2.0), (2.0, 2.0)} if best else {(1.0, 1.0), (2.0, 1.0)})
    for each in (folder.model, folder.best):
        assert (each / FACTS_FILE).exists() or (each == folder.best and not best)


def test_a_full_disk_keeps_the_model_before(
    model: RS2Sam2Model, tokenizer: PhraseTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: RS2Sam2Model, folder: Path, **_: Any) -> None:
        Path(folder).mkdir()
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    folder = RunFolder(tmp_path)
    folder.save_model(fill(model, 1.0), tokenizer, {"value": 1.0}, best=False)
    monkeypatch.setattr(RS2Sam2Model, "save_pretrained", fail)
    with pytest.raises(UserError, match=r"cannot write the model to .*: .*No space left.*; the one before is whole"):
        folder.save_model(fill(model, 2.0), tokenizer, {"value": 2.0}, best=False)
    assert value_in(folder.model) == 1.0
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_a_killed_run_left_goes_when_it_goes_on(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    recipe = make_recipe()
    folder.begin(recipe)
    folder.checkpoints.save(2, {"step": 2})
    lines = [json.dumps({"step": step, "loss": 1.0}) + "\n" for step in (1, 2, 3)]
    folder.log.write_text("".join(lines) + '{"step": 4, "lo')
    folder.samples.write_text("".join(lines))
    for left in ("states/step-0000004.tmp", ".metrics.jsonl.77.tmp", ".model.new.77/config.json"):
        (tmp_path / left).parent.mkdir(exist_ok=True)
        (tmp_path / left).write_text("half")
    assert folder.check(resume=True)
    assert folder.go_on(recipe, 2) == []
    assert folder.log.read_text() == folder.samples.read_text() == "".join(lines[:2])
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"recipe.json", "states", "metrics.jsonl", "samples.jsonl"}
    assert [path.name for path in (tmp_path / "states").iterdir()] == ["step-0000002.pt"]
    assert folder.go_on(make_recipe(seed=5, keep=3), 2) == ["keep", "seed"]


@pytest.mark.parametrize("content", ["{", "[1]", None], ids=str)
def test_a_run_goes_on_without_what_it_does_not_need(
    make_recipe: Callable[..., Recipe], tmp_path: Path, content: str | None
) -> None:
    folder = RunFolder(tmp_path)
    folder.begin(make_recipe())
    folder.recipe.unlink()
    if content is not None:
        folder.recipe.write_text(content)
    folder.log.write_text('{"step": 1, "loss": 1.0}\n[1]\n{"loss": 2.0}\n')
    assert "seed" in folder.go_on(make_recipe(), 2)
    assert json.loads(folder.recipe.read_text())["name"] == "tiny"
    assert folder.log.read_text() == '{"step": 1, "loss": 1.0}\n'


def test_a_folder_is_begun_once(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(UserError, match="nothing to resume in"):
        folder.check(resume=True)
    assert folder.check(resume=False) is False
    folder.begin(make_recipe())
    assert folder.check(resume=False) is False  # stopped before its first step: nothing is lost
    folder.log.write_text('{"step": 1, "loss": 1.0}\n')
    with pytest.raises(UserError, match="holds a run already"):
        folder.check(resume=False)
    assert folder.check(resume=True) is False  # no state yet: from the beginning
    folder.begin(make_recipe())
    assert not folder.log.exists()
