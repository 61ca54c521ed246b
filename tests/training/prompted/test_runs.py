"""Whole runs of promptable networks: a compact SAM behind an eye, and the mask decoders of all SAMs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from refersat.errors import UserError
from refersat.models.prompted.compact import CompactSam
from refersat.models.prompted.loading import load_prompted
from refersat.training.dry_run import dry_run
from refersat.training.loop import train
from refersat.training.recipe import Recipe
from refersat.training.recipe_files import changed_recipe, load_recipe
from tests.models.tiny_sam import save_sam1, save_sam2
from tests.training.runs import fingerprint, log_of, losses_of

MakeRecipe = Callable[..., Recipe]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def run(make_sam_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of six steps that saved its state after three."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(make_sam_recipe(), out)
    return out


def test_a_compact_sam(run: Path) -> None:
    log = log_of(run)
    steps = [line for line in log if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert set(steps[0]) == {"step", "loss", "gradient", "rate", "seconds", "cross_entropy", "dice", "mask_iou"}
    scores = [line["validation"] for line in log if "validation" in line]
    assert all(set(each) >= {"mIoU", "oIoU", "Pr@0.5", "count"} for each in scores)
    sam = load_prompted(run / "model", device=CPU)
    assert isinstance(sam, CompactSam)
    logits = sam.segment(sam.see(np.zeros((40, 60, 3), np.uint8)), torch.tensor([[0.1, 0.1, 0.5, 0.5]]))
    assert logits.shape == (1, 16, 16)


def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(run: Path, make_sam_recipe: MakeRecipe, tmp_path: Path) -> None:
    seen = {"seen": str(run / "seen")}  # looked at already
    half = changed_recipe(make_sam_recipe(), {"stages": [{**make_sam_recipe().stages[0].model_dump(), "steps": 3}]})
    train(changed_recipe(half, seen), tmp_path / "half")
    train(changed_recipe(make_sam_recipe(), seen), tmp_path / "half", resume=True)
    assert losses_of(tmp_path / "half")[:3] == losses_of(run)[:3]
    assert not (tmp_path / "half" / "seen").exists()
    assert fingerprint(tmp_path / "half" / "model") is not None


def test_it_learns(make_sam_recipe: MakeRecipe, run: Path, tmp_path: Path) -> None:
    stage = {**make_sam_recipe().stages[0].model_dump(), "steps": 120}
    recipe = changed_recipe(make_sam_recipe(), {"stages": [stage], "validate_every": {"steps": 120}})
    train(changed_recipe(recipe, {"seen": str(run / "seen")}), tmp_path / "longer")
    overlaps = [line["dice"] for line in log_of(tmp_path / "longer") if "loss" in line]
    assert np.mean(overlaps[-15:]) < 0.75 * np.mean(overlaps[:15])


def decoder_recipe(model: Path, triplets: Path, **changes: Any) -> Recipe:
    recipe = load_recipe("sam-decoder", [f"data.train=triplets:{triplets}", f"init.model={model}"])
    quick = {
        "data.validation_split": "val",
        "stages": [{"steps": 2, "image_size": 64, "batch_size": 2}],
        "optimizer.warm_up": 1,
        "validate_every": {"steps": 2},
        **changes,
    }
    return changed_recipe(recipe, quick)


@pytest.mark.parametrize("kind", ["sam2", "sam1", "compact"])
def test_only_the_mask_decoder_of_any_sam(kind: str, run: Path, triplets: Path, tmp_path: Path) -> None:
    folders = {"sam2": save_sam2, "sam1": save_sam1}
    model = run / "model" if kind == "compact" else folders[kind](tmp_path / kind)
    recipe = decoder_recipe(model, triplets)
    assert any("mask_decoder" in line for line in dry_run(recipe))
    train(recipe, tmp_path / "run")
    before, after = (
        load_prompted(folder, device=CPU).network.state_dict() for folder in (model, tmp_path / "run" / "model")
    )
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name].half(), after[name].half())}
    assert changed == {"mask_decoder"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base": "sam", "init": {}, "model": {}}, "init.model: base sam needs the folder"),
        ({"init": {"sam2": "weights.pt"}}, "init.sam2 is not for base built-in-sam"),
        ({"base": "built-in"}, "once: needs a model with a frozen eye"),
    ],
)
def test_what_cannot_be(make_sam_recipe: MakeRecipe, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    if changes.get("base") == "built-in":
        changes = {**changes, "init": {}, "model": {}}
    with pytest.raises(UserError, match=message):
        train(make_sam_recipe(**changes), tmp_path / "out")
