"""A run that is killed at any moment and resumed gives the losses and weights of one that never stopped."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from refersat.training.recipe import Recipe

STEPS = 40
RUN = [sys.executable, "-m", "refersat", "train"]


def losses_of(out: Path) -> list[tuple[int, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"]) for line in lines if "loss" in line]


def kill_at(run: subprocess.Popen[str], log: Path, lines: int) -> None:
    """Kill the run, workers and all, when its log has grown to so many lines; it may be anywhere by then."""
    deadline = time.monotonic() + 120
    while run.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.read_bytes().count(b"\n") >= lines:
            break
        time.sleep(0.005)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_killed_at_random_steps(make_sample_recipe: Callable[..., Recipe], tmp_path: Path, seed: int) -> None:
    recipe = make_sample_recipe(
        seed=seed,
        data={"flip": "both"},
        stages=[{"steps": STEPS, "image_size": 32, "batch_size": 2}],
        validate_every=10,
        save_every=4,
    )
    file = tmp_path / "recipe.json"
    file.write_text(recipe.model_dump_json())
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    environment = {**os.environ, "ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([*RUN, str(file), "--out", str(whole)], check=True, env=environment, capture_output=True)

    chance = random.Random(seed)
    for lines in sorted(chance.sample(range(5, STEPS), 3)):
        resume = ["--resume"] if list(killed.glob("states/step-*.pt")) else []
        words = [*RUN, str(file), "--out", str(killed), *resume]
        with subprocess.Popen(
            words,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as run:
            kill_at(run, killed / "metrics.jsonl", lines)
        assert run.returncode == -signal.SIGKILL
    assert len(losses_of(killed)) < STEPS
    subprocess.run(
        [*RUN, str(file), "--out", str(killed), "--resume"], check=True, env=environment, capture_output=True
    )

    assert losses_of(killed) == losses_of(whole)
    for name in ("model", "best"):
        weights = [(out / name / "model.safetensors").read_bytes() for out in (whole, killed)]
        assert len({hashlib.sha256(each).hexdigest() for each in weights}) == 1
    assert not list(killed.glob(".*"))  # nothing half-written is left
    assert [path.name for path in sorted((killed / "states").iterdir())] == ["step-0000036.pt", "step-0000040.pt"]
