"""Whole runs of a tiny model: what they write, that they learn, and that a stop loses nothing."""

from __future__ import annotations

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
from safetensors import safe_open
from transformers.utils import logging as transformers_logging

import refersat
from refersat.errors import UserError
from refersat.training.interruption import Stopped
from refersat.training.loop import learning_rate, train
from refersat.training.recipe import LossOptions, OptimizerOptions, Recipe, load_recipe

TERMS = {"loss", *LossOptions.model_fields}
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


def test_learning_rate_warms_up_and_decays() -> None:
    options = OptimizerOptions(learning_rate=1.0, warm_up=4, cool_down=0.5)
    rates = [learning_rate(step, 20, options) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:11] == [1.0] * 7
    assert rates[10:] == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert learning_rate(0, 1, OptimizerOptions(learning_rate=1.0, warm_up=0, cool_down=0.0)) == 1.0


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
    assert all(set(line) == {"step", *TERMS, "rate", "seconds"} for line in steps)
    assert all(np.isfinite(list(line.values())).all() for line in steps)
    validations = [line for line in log if "validation" in line]
    assert [line["step"] for line in validations] == [3, 6]
    for line in validations:
        scores = line["validation"]
        assert {"mIoU", "oIoU", "Pr@0.5", "count", "presence"} <= set(scores)
        assert scores["count"] + scores["presence"]["count_absent"] == 4
    assert load_recipe(str(uninterrupted / "recipe.json"), []) == make_recipe()
    written = {path.name for path in uninterrupted.iterdir()}
    assert written == {"recipe.json", "metrics.jsonl", "state.pt", "tokenizer", "model"}

    with safe_open(uninterrupted / "model/model.safetensors", "pt") as weights:
        assert {str(weights.get_tensor(name).dtype) for name in weights.keys()} == {"torch.float16"}  # noqa: SIM118
    segmenter = refersat.load(uninterrupted / "model", device="cpu")
    result = segmenter(data_set.images / "0.png", "the ship")
    assert result.mask.shape == (64, 64)
    assert 0 <= result.score <= 1


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
    assert fingerprint(model) == fingerprint(uninterrupted / "model")


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
    assert fingerprint(model) == fingerprint(uninterrupted / "model")


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
    assert train(make_recipe(), uninterrupted, resume=True) == uninterrupted / "model"
    assert fingerprint(uninterrupted / "model") == before
    assert len(losses_of(uninterrupted)) == 6


def test_a_run_is_not_overwritten(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    before = (uninterrupted / "metrics.jsonl").read_bytes()
    with pytest.raises(UserError, match="holds a run already: give --resume"):
        train(make_recipe(seed=1), uninterrupted)
    assert (uninterrupted / "metrics.jsonl").read_bytes() == before
    assert load_recipe(str(uninterrupted / "recipe.json"), []).seed == 0


def test_nothing_to_resume(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing to resume in .*: no state\.pt"):
        train(make_recipe(), tmp_path / "new", resume=True)
    assert not (tmp_path / "new").exists()


def test_a_state_of_another_model(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    with pytest.raises(UserError, match="is of a run with another model"):
        train(make_recipe(model={"decoder_feed_forward": 32}), uninterrupted, resume=True)
    assert load_recipe(str(uninterrupted / "recipe.json"), []) == make_recipe()


def test_a_damaged_state(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    state = uninterrupted / "state.pt"
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot read .*state\.pt"):
        train(make_recipe(), uninterrupted, resume=True)


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
    with pytest.raises(UserError, match=r"the loss is (nan|inf) at step \d: try a lower optimizer\.learning_rate"):
        train(recipe, tmp_path / "run")


@pytest.fixture
def recipe_file(make_recipe: MakeRecipe, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.json"
    path.write_text(make_recipe(stages=[{"steps": 2000, "image_size": 32, "batch_size": 2}]).model_dump_json())
    return path


@pytest.mark.slow
def test_ctrl_c_in_a_terminal(recipe_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = ["-m", "refersat", "train", str(recipe_file), "--out", str(out)]
    with subprocess.Popen([sys.executable, *words], stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        deadline = time.monotonic() + 120
        while not (out / "metrics.jsonl").exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: the data loading process is asked, too
        errors = run.communicate(timeout=60)[1]
    assert run.returncode == 130
    assert "the state is saved, --resume goes on" in errors
    assert "Traceback" not in errors
    assert (out / "state.pt").is_file()


WATCHED_RUN = """
import hashlib, os, sys
from pathlib import Path

from refersat.training import loop
from refersat.training.parameters import MovingAverage
from refersat.training.recipe import load_recipe


class Watched(MovingAverage):
    def update(self, model):
        super().update(model)
        self.both = (*model.parameters(), *self.model.parameters())
        watched.append(self)


watched = []
loop.MovingAverage = Watched
out = Path(sys.argv[2])
loop.train(load_recipe(sys.argv[1], sys.argv[3:]), out)
weights = b"".join(tensor.detach().numpy().tobytes() for tensor in watched[-1].both)
(out / f"weights-{os.environ['RANK']}").write_text(hashlib.sha256(weights).hexdigest())
"""


@pytest.mark.slow
def test_two_processes_train_one_model(recipe_file: Path, tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(WATCHED_RUN)
    out = tmp_path / "run"
    # The first stage leaves parameters without gradient for which the processes must not wait.
    stages = [
        "{steps: 1, image_size: 32, batch_size: 4, phrases_per_view: 0}",
        "{steps: 1, image_size: 32, batch_size: 4, phrases_per_view: 2}",
        "{steps: 1, image_size: 32, batch_size: 2}",
    ]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launch, str(script), str(recipe_file), str(out), f"stages=[{', '.join(stages)}]"],
        capture_output=True,
        text=True,
        check=False,
        # As a user starts it: nothing tells accelerate that this machine has no GPU.
        env={**{k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}, "OMP_NUM_THREADS": "1"},
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    first, second = ((out / f"weights-{rank}").read_text() for rank in (0, 1))
    assert first == second
    assert [step for step, _ in losses_of(out)] == [1, 2, 3]
    validation = log_of(out)[-1]["validation"]
    assert validation["count"] + validation["presence"]["count_absent"] == 4  # shared, and counted together
    assert refersat.load(out / "model", device="cpu").parameters > 0


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
