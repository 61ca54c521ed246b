"""A run that crashes, is stopped or is asked to stop goes on as if nothing had been."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refersat.errors import UserError
from refersat.evaluation.run import evaluate_samples
from refersat.training import courses, validation
from refersat.training.interruption import Stopped
from refersat.training.layouts import look
from refersat.training.loop import train
from tests.training.runs import MakeRecipe, fingerprint, log_of, losses_of


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


@pytest.mark.parametrize("last", [3, 6])
def test_a_stop_is_obeyed_in_the_middle_of_a_validation(
    uninterrupted: Path, make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    def stopped(*words: Any, on_sample: Callable[[], None], **named: Any) -> Any:
        def ask() -> None:
            seen.append(len(losses_of(out)))
            if len(losses_of(out)) == last:
                signal.raise_signal(signal.SIGTERM)
            on_sample()

        return evaluate_samples(*words, on_sample=ask, **named)

    out, seen = tmp_path / "stopped", list[int]()
    with monkeypatch.context() as patch:
        patch.setattr(validation, "evaluate_samples", stopped)
        with pytest.raises(Stopped, match=f"stopped after {last} of 6 steps"):
            train(make_recipe(), out)
    assert seen.count(last) == 1  # of four
    assert [line["step"] for line in log_of(out) if "validation" in line] == [3][: last // 6]
    train(make_recipe(), out, resume=True)
    scores = [[line for line in log_of(each) if "validation" in line] for each in (out, uninterrupted)]
    assert scores[0] == scores[1]
    assert losses_of(out) == losses_of(uninterrupted)
    for name in ("model", "best"):
        assert fingerprint(out / name) == fingerprint(uninterrupted / name)


def test_a_stop_is_obeyed_while_the_model_looks(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*words: Any, advance: Callable[[int], None], **named: Any) -> Any:
        signal.raise_signal(signal.SIGTERM)
        return look(*words, advance=advance, **named)

    stages = [
        {"steps": 2, "image_size": 32, "batch_size": 2, "phrases_per_view": 2},
        {"steps": 3, "image_size": 64, "batch_size": 2, "phrases_per_view": 6, "only": "selection", "views": 12},
    ]
    recipe = make_recipe(model={"selection": True}, stages=stages, validate_every=5)
    train(recipe, tmp_path / "whole")
    out = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        patch.setattr(courses, "look", stopped)
        with pytest.raises(Stopped, match="stopped after 2 of 5 steps"):
            train(recipe, out)
    assert not list(out.glob("layouts-*"))
    train(recipe, out, resume=True)
    assert losses_of(out) == losses_of(tmp_path / "whole")
    assert fingerprint(out / "model") == fingerprint(tmp_path / "whole/model")


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


def test_a_finished_run_resumes_to_its_model(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    before = fingerprint(uninterrupted / "model")
    told: list[str] = []
    assert train(make_recipe(), uninterrupted, resume=True, tell=told.append) == uninterrupted / "best"
    assert told[-1] == "all 6 steps are done: nothing is left to train"
    assert fingerprint(uninterrupted / "model") == before
    assert len(losses_of(uninterrupted)) == 6


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


def test_changes_of_the_recipe_take_effect_and_are_told(uninterrupted: Path, make_recipe: MakeRecipe) -> None:
    (uninterrupted / "states/step-0000006.pt").unlink()
    rates = {"learning_rate": 1e-3, "warm_up": 2}
    recipe, told = make_recipe(optimizer=rates, parts={"fusion": {"learning_rate": 5e-4}}), list[str]()
    train(recipe, uninterrupted, resume=True, tell=told.append)
    assert "going on after step 3 of 6; changed: optimizer, parts" in told
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
