"""What lies beside weights: enough to make them again, and no place of the machine that made them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import refersat
from refersat.training.facts import code_sha256, facts_of
from refersat.training.initialise import Start
from refersat.training.recipe import Recipe
from refersat.training.recipe_files import load_recipe

DEVICES: Any = SimpleNamespace(device=torch.device("cpu"), processes=2, sharded=True)


def test_facts_tell_recipe_data_weights_and_machine(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    file = tmp_path / "sam2.pt"
    file.write_bytes(b"weights")
    source: Any = SimpleNamespace(checkpoint=SimpleNamespace(entries={"a": SimpleNamespace(file=file)}))
    start = Start(config=SimpleNamespace(), sources=(source,))  # type: ignore[arg-type]
    setup: Any = SimpleNamespace(recipe=make_recipe(seed=7), start=start, fingerprint="abc")
    facts = json.loads(json.dumps(facts_of(setup, "def", DEVICES)))
    assert facts["refersat"] == refersat.__version__
    assert facts["recipe"]["seed"] == 7
    assert (facts["data_sha256"], facts["data_files_sha256"]) == ("abc", "def")
    assert facts["weights_sha256"] == {"sam2.pt": hashlib.sha256(b"weights").hexdigest()}
    assert (facts["run"]["processes"], facts["run"]["sharded"], facts["run"]["device"]) == (2, True, "cpu")
    assert str(tmp_path) not in json.dumps(facts)


@pytest.mark.parametrize(
    ("train", "told"),
    [
        ("triplets:/home/someone/data", ["triplets:data"]),
        ("refsegrs:RefSegRS", ["refsegrs:RefSegRS"]),
        (["rrsisd:/d/RRSIS-D", "/d/mine"], ["rrsisd:RRSIS-D", "mine"]),
    ],
)
def test_no_place_of_a_machine_is_told(train: str | list[str], told: list[str]) -> None:
    recipe = load_recipe("rs2sam2-rrsisd", [f"data.train={json.dumps(train)}", "init.sam2=/home/someone/sam2.pt"])
    start = Start(config=SimpleNamespace())  # type: ignore[arg-type]
    facts = facts_of(SimpleNamespace(recipe=recipe, start=start, fingerprint="abc"), "def", DEVICES)  # type: ignore[arg-type]
    assert facts["recipe"]["data"]["train"] == told
    assert facts["recipe"]["init"]["sam2"] == "sam2.pt"
    assert "someone" not in json.dumps(facts)


def test_code_is_told_from_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "notes.txt").write_text("x\n")
    monkeypatch.setattr(refersat, "__file__", str(tmp_path / "__init__.py"))
    first = code_sha256()
    (tmp_path / "notes.txt").write_text("y\n")
    assert code_sha256() == first
    (tmp_path / "a.py").write_text("x = 2\n")
    assert code_sha256() != first
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({first, code_sha256()}) == 2
