"""Whole runs of a tiny model: what they write, and that they learn what the recipe says."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from transformers.utils import logging as transformers_logging

import refersat
from refersat.cli.main import main
from refersat.errors import UserError
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.training.facts import code_sha256
from refersat.training.loop import train
from refersat.training.parts import part_of
from refersat.training.recipe import InitOptions, LossOptions, Recipe
from refersat.training.recipe_files import load_recipe
from tests.training.runs import MakeRecipe, log_of, losses_of

TERMS = {"loss", *LossOptions.model_fields} - {
    "boundary_kind",
    "mask_iou",
    "candidate_dice",
    "objects",
    "selection",
    "refinement",
}


@pytest.fixture
def selecting(make_recipe: MakeRecipe) -> Recipe:
    stages = [
        {"steps": 2, "image_size": 32, "batch_size": 2, "phrases_per_view": 2},
        {"steps": 3, "image_size": 64, "batch_size": 2, "phrases_per_view": 6, "only": "selection", "views": 12},
    ]
    return make_recipe(model={"selection": True}, stages=stages, validate_every=5, save_every=1)


def test_the_selection_may_have_a_stage_of_its_own(selecting: Recipe, tmp_path: Path) -> None:
    told: list[str] = []
    whole = train(selecting, tmp_path / "whole", tell=told.append)
    steps = [line for line in log_of(tmp_path / "whole") if "loss" in line]
    terms = [set(line) & set(LossOptions.model_fields) for line in steps]
    assert terms[:2] == [{*TERMS, "objects", "selection"} - {"loss"}] * 2
    assert terms[2:] == [{"selection"}] * 3
    assert [line["rate"] for line in steps[2:4]] == [1e-3, 2e-3]
    assert "looked at 12 of 12 views" in told
    model = RS2Sam2Model.from_pretrained(whole)
    assert model.selector is not None
    assert refersat.load(whole, device="cpu")(np.zeros((40, 60, 3), np.uint8), "the ship").mask.shape == (40, 60)


@pytest.mark.parametrize("last", [1, 2, 3, 4])
def test_the_selection_goes_on_with_what_was_seen(selecting: Recipe, tmp_path: Path, last: int) -> None:
    train(selecting, tmp_path / "whole")
    stopped = tmp_path / "stopped"

    def crash(step: int, values: dict[str, float]) -> None:
        if step == last + 1:
            raise RuntimeError("the power is gone")

    with pytest.raises(RuntimeError, match="power"):
        train(selecting, stopped, report=crash)
    seen = [path.read_bytes() for path in stopped.glob("layouts-*")]
    assert len(seen) == (last >= 2)
    train(selecting, stopped, resume=True)
    assert losses_of(stopped) == losses_of(tmp_path / "whole")
    assert [path.read_bytes() for path in stopped.glob("layouts-*")] == [
        path.read_bytes() for path in (tmp_path / "whole").glob("layouts-*")
    ]


def test_what_has_not_learned_to_find_objects_cannot_learn_to_choose(
    make_recipe: MakeRecipe, selecting: Recipe, tmp_path: Path
) -> None:
    alone = {"steps": 3, "image_size": 64, "batch_size": 2, "phrases_per_view": 6, "only": "selection"}
    with pytest.raises(UserError, match="begin with a stage that trains all"):
        train(make_recipe(model={"selection": True}, stages=[alone]), tmp_path / "fresh")
    with pytest.raises(UserError, match=r"give model\.selection=true"):
        train(make_recipe(stages=[alone]), tmp_path / "without")
    assert not list(tmp_path.glob("*/metrics.jsonl"))
    learned = train(selecting, tmp_path / "learned")
    goes_on = make_recipe(init={"model": str(learned)}, model={"selection": True}, stages=[{**alone, "views": 5}])
    assert train(goes_on, tmp_path / "goes on").is_dir()


@pytest.mark.parametrize("damage", ["gone", "cut", "of other views"])
def test_what_was_seen_must_be_there_to_go_on(selecting: Recipe, tmp_path: Path, damage: str) -> None:
    train(selecting, tmp_path / "run")
    (path,) = (tmp_path / "run").glob("layouts-*")
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        content = load_file(path)
        save_file({**content, "inside": content["inside"][1:]}, path)
    longer = selecting.model_copy(
        update={"stages": [selecting.stages[0], selecting.stages[1].model_copy(update={"steps": 4})]}
    )
    with pytest.raises(UserError, match=r"layouts-0000002\.safetensors.* restore it or begin anew$"):
        train(longer, tmp_path / "run", resume=True)


def test_a_run_learns_an_easy_case(
    make_recipe: MakeRecipe, write_data_set: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    made = write_data_set(tmp_path / "data", [[("ship", 8, 8, 32, 24)]])
    made.validation = None
    recipe = make_recipe(
        data=made,
        augment={"crop": 0, "flip": False, "rotate": False, "colour": 0},
        stages=[{"steps": 30, "image_size": 32, "batch_size": 4}],
        optimizer={"learning_rate": 3e-3, "warm_up": 3},
        validate_every=30,
    )
    train(recipe, tmp_path / "run")
    losses = [loss for _, loss in losses_of(tmp_path / "run")]
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])


def test_what_a_run_writes(uninterrupted: Path, make_recipe: MakeRecipe, data_set: SimpleNamespace) -> None:
    log = log_of(uninterrupted)
    steps = [line for line in log if "loss" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4, 5, 6]
    assert all(set(line) == {"step", *TERMS, "gradient", "rate", "seconds"} for line in steps)
    assert all(np.isfinite(list(line.values())).all() for line in steps)
    validations = [line for line in log if "validation" in line]
    assert [line["step"] for line in validations] == [3, 6]
    for line in validations:
        scores = line["validation"]
        assert {"mIoU", "oIoU", "Pr@0.5", "count", "presence"} <= set(scores)
        assert scores["count"] + scores["presence"]["count_absent"] == 4
    assert load_recipe(str(uninterrupted / "recipe.json"), []) == make_recipe()
    written = {path.name for path in uninterrupted.iterdir()}
    logs = {"metrics.jsonl", "samples.jsonl", "curves.png"}
    assert written == {"recipe.json", *logs, "states", "tokenizer", "model", "best"}
    assert sorted(path.name for path in (uninterrupted / "states").iterdir()) == ["step-0000003.pt", "step-0000006.pt"]

    with safe_open(uninterrupted / "model/model.safetensors", "pt") as weights:
        assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {"torch.float16"}  # noqa: SIM118
    segmenter = refersat.load(uninterrupted / "model", device="cpu")
    result = segmenter(data_set.images / "0.png", "the ship")
    assert result.mask.shape == (64, 64)
    assert 0 <= result.score <= 1


def test_the_terms_of_every_phrase_are_written(uninterrupted: Path) -> None:
    rows = [json.loads(line) for line in (uninterrupted / "samples.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    for line in log_of(uninterrupted):
        if "loss" in line:
            own = [row for row in rows if row["step"] == line["step"]]
            assert all(
                set(row) - {"step", "sample"} == {"cross_entropy", "dice", "presence", "boundary"} for row in own
            )
            assert np.mean([row["cross_entropy"] for row in own]) == pytest.approx(line["cross_entropy"], rel=1e-5)
            assert all(".png: " in row["sample"] for row in own)


def test_the_best_model_is_the_one_with_the_highest_score(uninterrupted: Path) -> None:
    scores = {line["step"]: line["validation"]["mIoU"] for line in log_of(uninterrupted) if "validation" in line}
    facts = {name: json.loads((uninterrupted / name / "training.json").read_text()) for name in ("model", "best")}
    assert facts["model"]["step"] == 6
    assert facts["best"]["step"] == max(sorted(scores), key=lambda step: scores[step])
    assert facts["best"]["scores"]["mIoU"] == max(scores.values())


def test_weights_say_what_they_come_from(uninterrupted: Path, data_set: SimpleNamespace) -> None:
    text = (uninterrupted / "best" / "training.json").read_text()
    facts = json.loads(text)
    assert facts["refersat"] == refersat.__version__
    assert facts["code_sha256"] == code_sha256()
    assert facts["data_sha256"] == hashlib.sha256(data_set.annotations.read_bytes()).hexdigest()
    assert facts["recipe"]["optimizer"]["learning_rate"] == 2e-3
    assert facts["recipe"]["data"]["annotations"] == data_set.annotations.name
    assert str(data_set.images.parent) not in text  # no place of this machine


def test_the_other_commands_take_the_model(uninterrupted: Path, triplets: Path, data_set: SimpleNamespace) -> None:
    model, out = str(uninterrupted / "best"), uninterrupted / "out"
    image = str(data_set.images / "0.png")
    assert main(["predict", image, "-t", "the ship", "--model", model, "--out", str(out), "--device", "cpu"]) == 0
    assert list(out.glob("*.mask.*"))
    words = ["--model", model, "--data", f"triplets:{triplets}", "--split", "val", "--device", "cpu"]
    assert main(["evaluate", *words, "--out", str(uninterrupted / "scores")]) == 0
    assert "mIoU" in (uninterrupted / "scores" / "metrics.json").read_text()


@pytest.mark.usefixtures("no_network")
def test_transformers_reads_and_sends_the_model(
    uninterrupted: Path, data_set: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_card(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("a new repository has none")

    def send(self: RS2Sam2Model, folder: str, *_: Any, **__: Any) -> None:
        shutil.copytree(folder, uninterrupted / "sent")

    model = RS2Sam2Model.from_pretrained(uninterrupted / "best")
    hub = SimpleNamespace(create_repo=lambda repo_id, **_: SimpleNamespace(repo_id=repo_id))
    monkeypatch.setattr("transformers.utils.hub.hf_api", lambda: hub)
    monkeypatch.setattr("transformers.utils.hub.ModelCard.load", no_card)
    monkeypatch.setattr(RS2Sam2Model, "_upload_modified_files", send)
    model.push_to_hub("someone/their-model")
    image = str(data_set.images / "0.png")
    own, sent = (refersat.load(uninterrupted / name, device="cpu")(image, "the ship") for name in ("best", "sent"))
    np.testing.assert_array_equal(sent.probability, own.probability)


def test_no_other_bar_is_drawn_into_ours(
    make_recipe: MakeRecipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = transformers_logging.is_progress_bar_enabled()
    train(make_recipe(stages=[{"steps": 1, "image_size": 32, "batch_size": 1}]), tmp_path / "run")
    assert "Writing" not in capfd.readouterr().err
    assert transformers_logging.is_progress_bar_enabled() == shown


def test_parts_of_a_batch_train_as_the_whole(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    stages = [{"steps": 5, "image_size": 32, "batch_size": 4, "phrases_per_view": 2}]
    options = {"learning_rate": 2e-3, "warm_up": 2}
    for parts in (1, 4):
        recipe = make_recipe(stages=stages, optimizer={**options, "accumulate": parts})
        train(recipe, tmp_path / str(parts))
    whole, parted = (dict(losses_of(tmp_path / parts)) for parts in ("1", "4"))
    assert parted == pytest.approx(whole, rel=1e-4)
    told = [(tmp_path / parts / "samples.jsonl").read_text().count("\n") for parts in ("1", "4")]
    assert told == [40, 40]


def test_less_memory_gives_the_same_losses(make_recipe: MakeRecipe, uninterrupted: Path, tmp_path: Path) -> None:
    options = {"learning_rate": 2e-3, "warm_up": 2, "activation_checkpointing": True}
    train(make_recipe(optimizer=options), tmp_path / "run")
    assert losses_of(tmp_path / "run") == losses_of(uninterrupted)


def test_only_what_the_recipe_says_is_trained(
    make_sample_recipe: MakeRecipe, tiny_model: dict[str, Any], tmp_path: Path
) -> None:
    frozen = ["union_encoder", "projections", "mask_prompt", "candidates", "trunk", "neck", "prompt_encoder"]
    recipe = make_sample_recipe(parts={part: {"train": False} for part in frozen}, loss={"coarse": 0, "pseudo_mask": 0})
    told: list[str] = []
    first = train(make_sample_recipe(), tmp_path / "first")
    recipe = recipe.model_copy(update={"init": InitOptions(model=str(first)), "model": {}})
    train(recipe, tmp_path / "second", tell=told.append)
    before, after = (
        RS2Sam2Model.from_pretrained(tmp_path / name).state_dict() for name in ("first/best", "second/model")
    )
    moved = {part_of(name) for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"fusion", "adapters", "mask_decoder"}
    assert any(line.startswith("trunk") and "frozen" in line and str(first) in line for line in told)


def test_samples_are_learned(make_sample_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_sample_recipe(
        stages=[{"epochs": 12, "image_size": 32, "batch_size": 6}],
        optimizer={"learning_rate": 3e-3, "warm_up": 2},
        validate_every={"epochs": 6},
        data={"flip": "both"},
    )
    train(recipe, tmp_path / "run")
    losses = [loss for _, loss in losses_of(tmp_path / "run")]
    assert np.mean(losses[-3:]) < 0.75 * np.mean(losses[:3])
    steps = [line["step"] for line in log_of(tmp_path / "run") if "validation" in line]
    assert steps == [6, 12]


def test_without_anything_to_measure_the_last_model_counts(make_sample_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_sample_recipe(
        data={"validation_split": None}, stages=[{"steps": 1, "image_size": 32, "batch_size": 1}]
    )
    assert train(recipe, tmp_path / "run") == tmp_path / "run/model"


def test_where_all_that_is_measured_names_nothing_the_last_model_counts(
    make_sample_recipe: MakeRecipe, write_triplets: Callable[..., Path], tmp_path: Path
) -> None:
    ship = ("ship", 8, 8, 24, 24)
    data = write_triplets(tmp_path / "data", [("train", "a ship", ship), ("train", "it", None), ("val", "it", None)])
    recipe = make_sample_recipe(
        data={"train": f"triplets:{data}"}, stages=[{"steps": 1, "image_size": 32, "batch_size": 1}]
    )
    told: list[str] = []
    assert train(recipe, tmp_path / "run", tell=told.append) == tmp_path / "run/model"
    assert told[-1] == "step 1: model saved"
    (scores,) = (line["validation"] for line in log_of(tmp_path / "run") if "validation" in line)
    assert (scores["mIoU"], scores["presence"]["count_absent"]) == (None, 1)
    assert (tmp_path / "run/curves.png").exists()


def test_runs_of_both_precisions_in_one_process(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    stages = [{"steps": 2, "image_size": 32, "batch_size": 2}]
    losses = {}
    for kind, precision in (("adamw", "float32"), ("muon", "bfloat16"), ("muon", "float32")):
        options = {"kind": kind, "precision": precision, "warm_up": 2, "learning_rate": 2e-3}
        train(make_recipe(stages=stages, optimizer=options), tmp_path / (kind + precision))
        losses[kind, precision] = [loss for _, loss in losses_of(tmp_path / (kind + precision))]
    first, half, whole = losses.values()
    assert half[0] != whole[0]
    assert half[0] == pytest.approx(whole[0], rel=0.02)
    assert first[0] == whole[0]
    assert first[1] != whole[1]
