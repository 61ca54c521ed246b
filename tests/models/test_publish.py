"""What `refersat models push` sends runs where it arrives; Hugging Face is a folder here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import refersat
from refersat.cli.main import main
from refersat.errors import UserError
from refersat.models.grounding.model import GroundingModel
from refersat.models.publish import files_to_push, push
from refersat.models.zoo import ModelCard
from tests.models.tiny_grounder import tiny_grounder_config

pytestmark = pytest.mark.usefixtures("no_network")


class Hub:
    """Stands for `HfApi`: repositories are folders below `place`."""

    place: Path
    private: bool | None = None

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> SimpleNamespace:
        assert exist_ok
        (self.place / name).mkdir(parents=True, exist_ok=True)
        Hub.private = private
        return SimpleNamespace(repo_id=name)

    def file_exists(self, name: str, file: str) -> bool:
        return (self.place / name / file).exists()

    def create_commit(self, name: str, operations: list[Any], *, commit_message: str) -> SimpleNamespace:
        assert commit_message
        for operation in operations:
            content = operation.path_or_fileobj
            data = content if isinstance(content, bytes) else Path(content).read_bytes()
            (self.place / name / operation.path_in_repo).write_bytes(data)
        return SimpleNamespace(commit_url=f"https://hub/{name}/commit/1")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Hub.place = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    return Hub.place


@pytest.fixture
def trained(own_folder: Path) -> Path:
    """As a run leaves it, and something beside it that is nobody's business."""
    facts = {"refersat": "1", "recipe": {"name": "harbours", "data": {"train": ["triplets:mine"]}}}
    (own_folder / "training.json").write_text(json.dumps({**facts, "scores": {"mIoU": 61.234, "count": 7}}))
    (own_folder / "notes.md").write_text("private")
    return own_folder


def test_what_arrives_is_the_model(trained: Path, hub: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "push", str(trained), "someone/harbours", "--private"]) == 0
    assert capsys.readouterr().out == "https://hub/someone/harbours/commit/1\n"
    sent = hub / "someone/harbours"
    names = {"README.md", "config.json", "model.safetensors", "sentencepiece.bpe.model", "training.json"}
    assert {path.name for path in sent.iterdir()} == names
    assert Hub.private is True
    image = np.random.default_rng(0).integers(0, 255, (40, 50, 3), np.uint8)
    here, there = (refersat.load(folder, device="cpu")(image, "a ship") for folder in (trained, sent))
    np.testing.assert_array_equal(there.probability, here.probability)
    text = (sent / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: refersat\n")
    for told in ("`harbours`", "triplets:mine", "mIoU of 61.23", "hf download someone/harbours", "--model harbours"):
        assert told in text


def test_a_readme_is_not_replaced(trained: Path, hub: Path) -> None:
    (hub / "someone/ships").mkdir(parents=True)
    (hub / "someone/ships/README.md").write_text("mine")
    push(trained, "someone/ships")
    assert (hub / "someone/ships/README.md").read_text() == "mine"
    (trained / "README.md").write_text("newer")
    push(trained, "someone/ships")
    assert (hub / "someone/ships/README.md").read_text() == "newer"


def test_a_card_goes_along(trained: Path, hub: Path) -> None:
    ModelCard(name="mine", summary="Finds harbours.").save(trained)
    push(trained, "someone/mine")
    assert "Finds harbours." in (hub / "someone/mine/README.md").read_text()
    assert ModelCard.read(hub / "someone/mine") == ModelCard.read(trained)


def test_a_grounder(tokenizer_file: Path, hub: Path, tmp_path: Path) -> None:
    GroundingModel(tiny_grounder_config()).save_pretrained(tmp_path / "grounder")
    with pytest.raises(UserError, match="lacks its tokenizer"):
        push(tmp_path / "grounder", "someone/finder")
    (tmp_path / "grounder/sentencepiece.bpe.model").write_bytes(tokenizer_file.read_bytes())
    push(tmp_path / "grounder", "someone/finder")
    assert (hub / "someone/finder/sentencepiece.bpe.model").exists()
    assert "--grounder finder" in (hub / "someone/finder/README.md").read_text()


def test_a_grounder_takes_robertas_tokenizer_along(tmp_path: Path) -> None:
    GroundingModel(tiny_grounder_config()).save_pretrained(tmp_path / "one")
    (tmp_path / "one/tokenizer.json").write_text("{}")
    GroundingModel.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    assert (tmp_path / "two/tokenizer.json").read_text() == "{}"


def test_models_of_others_stay_here(write_released: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="as others released it"):
        files_to_push(write_released(tmp_path / "released"))
    with pytest.raises(UserError, match="is not a model folder"):
        files_to_push(tmp_path)


def test_a_refusal_is_one_line(trained: Path, hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise ValueError("401\nUnauthorized")

    monkeypatch.setattr(Hub, "create_repo", refuse)
    with pytest.raises(UserError, match=r"cannot send the model to someone/x: 401 Unauthorized \(`hf auth login`"):
        push(trained, "someone/x")
    assert not hub.exists()
