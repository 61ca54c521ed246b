"""Whole runs of a tiny model: what they write, that they learn, and that a stop loses nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors import safe_open
from transformers.utils import logging as transformers_logging

import refersat
from refersat.cli.main import main
from refersat.errors import UserError
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.training.batch import Batch
from refersat.training.facts import code_sha256
from refersat.training.interruption import Stopped
from refersat.training.loop import train
from refersat.training.objective import Trainee
from refersat.training.parts import part_of
from refersat.training.recipe import InitOptions, LossOptions, Recipe
from refersat.training.recipe_files import load_recipe

TERMS = {"loss", *LossOptions.model_fields} - {"boundary_kind", "candidate_dice"}
MakeRecipe = Callable[..., Recipe]


def log_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def losses_of(out: Path) -> list[tuple[int, float]]:
    return [(line["step"], line["loss"]) for line in log_of(out) if "loss" in line]


def fingerprint(model: Path) -> str:
    return hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def original(make_recipe: MakeRecipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(make_recipe(), out)
    return out


@pytest.fixture
def uninterrupted(original: Path, tmp_path: Path) -> Path:
    """A copy of the folder of a run of six steps that saved its state after three."""
    return shutil.copytree(original, tmp_path / "whole")


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
def test_transformers_reads_and_sends_the_model(uninterrupted: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_card(*_: Any, **__: Any) -> None:
        raise LocalEntryNotFoundError("a new repository has none")

    model = RS2Sam2Model.from_pretrained(uninterrupted / "best")
    sent: list[str] = []
    hub = SimpleNamespace(create_repo=lambda repo_id, **_: SimpleNamespace(repo_id=repo_id))
    monkeypatch.setattr("transformers.utils.hub.hf_api", lambda: hub)
    monkeypatch.setattr("transformers.utils.hub.ModelCard.load", no_card)
    monkeypatch.setattr(
        RS2Sam2Model,
        "_upload_modified_files",
        lambda self, folder, *_, **__: sent.extend(path.name for path in Path(folder).iterdir()),
    )
    model.push_to_hub("someone/their-model")
    assert {"config.json", "model.safetensors"} <= set(sent)


def test_resuming_after_a_crash_changes_nothing(uninterrupted: Path, make_recipe: MakeRecipe, tmp_path: Path) -> None:
    def crash(step: int, values: dict[str, float]) -> None:
        if step == 5:
            raise RuntimeError("power cut")

    out = tmp_path / "crashed"
    with pytest.raises(RuntimeError, match="power cut"):
        train(make_recipe(), out, report=crash)
    assert len(losses_of(out)) == 5
    with (out / "metrics.jsonl").open("a") as log:
        log.write('{"step": 6, "lo')

    reported: list[int] = []
    model = train(make_recipe(), out, resume=True, report=lambda step, values: reported.append(step))
    assert reported == [4, 5, 6]  # from the state after step 3
    assert losses_of(out) == losses_of(uninterrupted)
    steps = [line["step"] for line in log_of(out) if "resumed" not in line]
    assert steps == [line["step"] for line in log_of(uninterrupted)]
    assert {"step": 3, "resumed": True, "recipe_changed": []} in log_of(out)
    assert model == out / "best"
    assert fingerprint(model) == fingerprint(uninterrupted / "best")
    assert fingerprint(out / "model") == fingerprint(uninterrupted / "model")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_on_request_saves_the_state(
    uninterrupted: Path, make_recipe: MakeRecipe, tmp_path: Path, number: signal.Signals
) -> None:
    def stop(step: int, values: dict[str, float]) -> None:
        if step == 2:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    out = tmp_path / "stopped"
    with pytest.raises(Stopped, match="stopped after 2 of 6 steps"):
        train(make_recipe(), out, report=stop)
    assert signal.getsignal(number) is before
    assert [step for step, _ in losses_of(out)] == [1, 2]
    model = train(make_recipe(), out, resume=True)
    assert losses_of(out) == losses_of(uninterrupted)
    assert model == out / "best"
    assert fingerprint(model) == fingerprint(uninterrupted / "best")
    assert fingerprint(out / "model") == fingerprint(uninterrupted / "model")


def test_a_stop_before_a_validation_puts_it_off(uninterrupted: Path, make_recipe: MakeRecipe, tmp_path: Path) -> None:
    def stop(step: int, values: dict[str, float]) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGTERM)

    out = tmp_path / "stopped"
    with pytest.raises(Stopped, match="stopped after 3 of 6 steps"):
        train(make_recipe(), out, report=stop)
    assert not (out / "model").exists()
    train(make_recipe(), out, resume=True)
    train(make_recipe(), out, resume=True)  # it is not measured again
    scores = [[line for line in log_of(each) if "validation" in line] for each in (out, uninterrupted)]
    assert scores[0] == scores[1]
    assert losses_of(out) == losses_of(uninterrupted)
    for name in ("model", "best"):
        assert fingerprint(out / name) == fingerprint(uninterrupted / name)


def test_a_second_interrupt_is_immediate(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    def insist(step: int, values: dict[str, float]) -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # workers of pytest-xdist ignore Ctrl-C
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            train(make_recipe(), tmp_path / "run", report=insist)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not isinstance(caught.value, Stopped)


def test_no_other_bar_is_drawn_into_ours(
    make_recipe: MakeRecipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = transformers_logging.is_progress_bar_enabled()
    train(make_recipe(stages=[{"steps": 1, "image_size": 32, "batch_size": 1}]), tmp_path / "run")
    assert "Writing" not in capfd.readouterr().err
    assert transformers_logging.is_progress_bar_enabled() == shown


def test_a_finished_run_resumes_to_its_model(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    before = fingerprint(uninterrupted / "model")
    assert train(make_recipe(), uninterrupted, resume=True) == uninterrupted / "best"
    assert fingerprint(uninterrupted / "model") == before
    assert len(losses_of(uninterrupted)) == 6


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


def test_a_run_that_saved_nothing_yet_is_resumed_from_its_beginning(
    uninterrupted: Path, make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    def crash(step: int, values: dict[str, float]) -> None:
        if step == 2:
            raise RuntimeError("power cut")

    out = tmp_path / "crashed"
    with pytest.raises(RuntimeError, match="power cut"):
        train(make_recipe(), out, report=crash)
    assert not (out / "states").exists()
    with pytest.raises(UserError, match="give --resume"):
        train(make_recipe(), out)
    train(make_recipe(), out, resume=True)
    assert losses_of(out) == losses_of(uninterrupted)
    assert (out / "samples.jsonl").read_bytes() == (uninterrupted / "samples.jsonl").read_bytes()


def test_a_state_of_another_model(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    with pytest.raises(UserError, match="the state is of a run with another model"):
        train(make_recipe(model={"decoder_feed_forward": 32}), uninterrupted, resume=True)
    assert load_recipe(str(uninterrupted / "recipe.json"), []) == make_recipe()


def test_a_damaged_state(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    state = uninterrupted / "states/step-0000006.pt"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot read .*step-0000006\.pt.*; delete it to go on from step 3"):
        train(make_recipe(), uninterrupted, resume=True)
    state.unlink()
    train(make_recipe(), uninterrupted, resume=True)
    assert [step for step, _ in losses_of(uninterrupted)] == [1, 2, 3, 4, 5, 6]


def test_changes_of_the_recipe_take_effect_and_are_told(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    (uninterrupted / "states/step-0000006.pt").unlink()
    rates = {"learning_rate": 1e-3, "warm_up": 2}
    train(make_recipe(optimizer=rates, parts={"fusion": {"learning_rate": 5e-4}}), uninterrupted, resume=True)
    log = log_of(uninterrupted)
    assert {"step": 3, "resumed": True, "recipe_changed": ["optimizer", "parts"]} in log
    assert [line["rate"] for line in log if "loss" in line][3] == 1e-3


def test_a_run_can_stop_in_the_stage_without_phrases(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    stages = [
        {"steps": 3, "image_size": 32, "batch_size": 2, "phrases_per_view": 0},
        {"steps": 2, "image_size": 32, "batch_size": 2},
    ]
    recipe = make_recipe(stages=stages, validate_every=2)
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    train(recipe, whole)

    def crash(step: int, values: dict[str, float]) -> None:
        if step == 3:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        train(recipe, parted, report=crash)
    train(recipe, parted, resume=True)  # from step 2: most weights have met no gradient yet
    assert losses_of(parted) == losses_of(whole)
    assert fingerprint(parted / "model") == fingerprint(whole / "model")


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


@pytest.fixture
def recipe_file(make_recipe: MakeRecipe, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(make_recipe(stages=[{"steps": 2000, "image_size": 32, "batch_size": 2}]).model_dump_json())
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_whole_group_of_processes_is_asked_to_stop(recipe_file: Path, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "run"
    words = ["-m", "refersat", "train", str(recipe_file), "--out", str(out), "--set", "workers=2"]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        deadline = time.monotonic() + 120
        while not (out / "metrics.jsonl").exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(run.pid, number)  # as a terminal does: the data loading processes are asked, too
        errors = run.communicate(timeout=60)[1]
    assert run.returncode == 130
    assert "the state is saved, --resume goes on" in errors
    assert "Traceback" not in errors
    assert [int(path.stem[5:]) for path in (out / "states").iterdir()] == [losses_of(out)[-1][0]]


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
