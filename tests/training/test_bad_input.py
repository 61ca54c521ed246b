"""What a run refuses, and what it leaves behind where it cannot go on: nothing, or the last good state."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from refersat.errors import UserError
from refersat.training.batch import Batch
from refersat.training.loop import train
from refersat.training.objective import Trainee
from refersat.training.recipe_files import load_recipe
from tests.training.runs import MakeRecipe, losses_of


def test_a_run_is_not_overwritten(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    before = (uninterrupted / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="holds a run already: give --resume"):
        train(make_recipe(seed=1), uninterrupted)
    assert (uninterrupted / "metrics.jsonl").read_bytes() == before
    assert load_recipe(str(uninterrupted / "recipe.json"), []).seed == 0


def test_nothing_to_resume(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing to resume in .*: no run was begun there"):
        train(make_recipe(), tmp_path / "new", resume=True)
    assert not (tmp_path / "new").exists()


def test_a_state_of_another_model(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    with pytest.raises(UserError, match="the state is of a run with another model"):
        train(make_recipe(model={"decoder_feed_forward": 32}), uninterrupted, resume=True)
    assert load_recipe(str(uninterrupted / "recipe.json"), []) == make_recipe()


def test_a_recipe_that_is_over_already(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    before = (uninterrupted / "recipe.json").read_bytes()
    shorter = make_recipe(stages=[{"steps": 4, "image_size": 32, "batch_size": 2}])
    with pytest.raises(UserError, match="6 steps are done, and the recipe has 4: lengthen its stages"):
        train(shorter, uninterrupted, resume=True)
    assert (uninterrupted / "recipe.json").read_bytes() == before


def test_a_damaged_state(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    state = uninterrupted / "states/step-0000006.pt"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot read .*step-0000006\.pt.*; delete it to go on from step 3"):
        train(make_recipe(), uninterrupted, resume=True)
    state.unlink()
    train(make_recipe(), uninterrupted, resume=True)
    assert [step for step, _ in losses_of(uninterrupted)] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("annotations", "nowhere: no such file"),
        ("images", "there is no folder nowhere"),
        ("validation", r"cannot read nowhere/refs\.json"),
    ],
)
def test_missing_data_is_found_before_anything_is_written(
    make_recipe: MakeRecipe, data_set: SimpleNamespace, tmp_path: Path, place: str, message: str
) -> None:
    recipe = make_recipe(data=SimpleNamespace(**{**vars(data_set), place: Path("nowhere")}))
    with pytest.raises(UserError, match=message):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"image_sice": 64}, "model has no setting named image_sice"),
        ({"image_size": 50}, "describes no possible model: image_size must be a multiple of 32"),
        ({"hidden_size": "wide"}, "describes no possible model"),
        ({"hidden_size": 31}, "describes no possible model"),
    ],
)
def test_a_wrong_setting_is_found_before_anything_is_written(
    make_recipe: MakeRecipe, tmp_path: Path, model: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        train(make_recipe(model=model), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        train(make_recipe(), tmp_path / "file")


def test_a_loss_that_explodes_is_told(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(optimizer={"learning_rate": 1e30, "warm_up": 0})
    told = r"(loss|gradient) is (nan|inf) at step \d: try a lower optimizer\.learning_rate\. The batch was: .*\.png: "
    with pytest.raises(UserError, match=told):
        train(recipe, tmp_path / "run")


def test_a_loss_that_explodes_leaves_the_last_good_state(
    make_recipe: MakeRecipe, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(self: Trainee, batch: Batch, *rest: Any) -> Any:
        loss, terms, own = forward(self, batch, *rest)
        spoil = len(seen) == 4
        seen.append(batch.told())
        return loss * (float("nan") if spoil else 1.0), terms, own

    forward, seen = Trainee.forward, []
    monkeypatch.setattr(Trainee, "forward", spoilt)
    out = tmp_path / "run"
    with pytest.raises(UserError, match=r"the loss is nan at step 5: .*; the state after step 3 is kept") as caught:
        train(make_recipe(), out)
    assert all(line in str(caught.value) for line in seen[4])
    assert [step for step, _ in losses_of(out)] == [1, 2, 3, 4]
    monkeypatch.undo()
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    train(make_recipe(), out, resume=True)
    assert losses_of(out) == losses_of(uninterrupted)


def test_a_full_disk_keeps_what_was_saved(
    make_recipe: MakeRecipe, uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def save(content: Any, file: Any) -> None:
        if content["step"] == 6:
            file.write(b"half of it")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(content, file)

    original = torch.save
    monkeypatch.setattr(torch, "save", save)
    out = tmp_path / "run"
    with pytest.raises(UserError, match="the disk is full; the state after step 3 is whole: --resume goes on"):
        train(make_recipe(), out)
    assert [path.name for path in (out / "states").iterdir()] == ["step-0000003.pt"]
    monkeypatch.undo()
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    train(make_recipe(), out, resume=True)
    assert losses_of(out) == losses_of(uninterrupted)
