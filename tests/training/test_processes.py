"""Two processes that train together do what one does alone with the same batches, whole (DDP) or sharded (FSDP)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from refersat.training.loop import train
from refersat.training.recipe import Recipe
from refersat.training.recipe_files import changed_recipe

MakeRecipe = Callable[..., Recipe]
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "refersat", "train"]
CLOSE = 2e-4


def command(recipe: Recipe, out: Path) -> list[str]:
    """What runs a recipe in two processes."""
    file = out.with_suffix(".json")
    file.write_text(recipe.model_dump_json())
    return [sys.executable, *LAUNCH, str(file), "--out", str(out)]


def environment() -> dict[str, str]:
    """As a user has it: nothing tells accelerate that this machine has no GPU."""
    return {**{k: v for k, v in os.environ.items() if not k.startswith("ACCELERATE_")}, "OMP_NUM_THREADS": "1"}


def together(recipe: Recipe, out: Path, *words: str) -> None:
    """Run a recipe in two processes."""
    done = subprocess.run(
        [*command(recipe, out), *words], capture_output=True, text=True, check=False, env=environment(), timeout=600
    )
    assert done.returncode == 0, done.stderr


def log_of(out: Path, kind: str) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line if kind == "loss" else line[kind] for line in lines if kind in line]


def assert_alike(out: Path, other: Path) -> None:
    """The same losses, gradients, scores and phrases, but for rounding."""
    ones, others = log_of(out, "loss"), log_of(other, "loss")
    assert [line["step"] for line in ones] == [line["step"] for line in others]
    for one, another in zip(ones, others, strict=True):
        assert set(one) == set(another)
        for name in set(one) - {"seconds"}:
            assert one[name] == pytest.approx(another[name], rel=CLOSE, abs=1e-6), name
    for one, another in zip(log_of(out, "validation"), log_of(other, "validation"), strict=True):
        assert one["count"] == another["count"]
        assert one["presence"]["count_absent"] == another["presence"]["count_absent"]
        assert one["mIoU"] == pytest.approx(another["mIoU"], abs=0.5)
    told = [sorted(f"{r['step']} {r['sample']}" for r in rows_of(each)) for each in (out, other)]
    assert told[0] == told[1]
    weights = [load_file(each / "model/model.safetensors") for each in (out, other)]
    assert set(weights[0]) == set(weights[1])
    worst = max(np.abs(weights[0][name].astype(float) - weights[1][name].astype(float)).max() for name in weights[0])
    assert worst < 0.02


def rows_of(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]


@pytest.fixture
def generated(make_recipe: MakeRecipe) -> Recipe:
    # The first stage leaves parameters without gradient for which the processes must not wait.
    return make_recipe(
        stages=[
            {"steps": 2, "image_size": 32, "batch_size": 4, "phrases_per_view": 0},
            {"steps": 3, "image_size": 32, "batch_size": 4, "phrases_per_view": 2},
            {"steps": 2, "image_size": 64, "batch_size": 2},
        ],
        validate_every=3,
        validation_samples=3,  # cannot be shared evenly
    )


@pytest.fixture
def sampled(make_sample_recipe: MakeRecipe) -> Recipe:
    return make_sample_recipe(
        data={"flip": "both", "absent": 0.2},
        parts={"trunk": {"train": False}, "fusion": {"learning_rate": 4e-3}},
        stages=[{"steps": 6, "image_size": 32, "batch_size": 4}],
        validate_every=3,
    )


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"sharded": True}, {"optimizer.accumulate": 2}], ids=str)
def test_samples(sampled: Recipe, tmp_path: Path, changes: dict[str, object]) -> None:
    train(sampled, tmp_path / "one")
    together(changed_recipe(sampled, changes), tmp_path / "two")
    assert_alike(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"sharded": True}], ids=str)
def test_generated_phrases(generated: Recipe, tmp_path: Path, changes: dict[str, object]) -> None:
    train(generated, tmp_path / "one")
    together(changed_recipe(generated, changes), tmp_path / "two")
    assert_alike(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_states_load_on_any_number_of_processes(sampled: Recipe, tmp_path: Path) -> None:
    train(sampled, tmp_path / "one")
    out = tmp_path / "two"
    together(changed_recipe(sampled, {"sharded": True}), out)
    (out / "states/step-0000006.pt").unlink()
    train(sampled, out, resume=True)  # sharded in two -> one
    assert_alike(tmp_path / "one", out)
    (out / "states/step-0000006.pt").unlink()
    together(sampled, out, "--resume")  # one -> two
    assert_alike(tmp_path / "one", out)
    (out / "states/step-0000006.pt").unlink()
    together(changed_recipe(sampled, {"sharded": True}), out, "--resume")  # two -> sharded in two
    assert_alike(tmp_path / "one", out)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_is_passed_on_to_those_that_know_it(sampled: Recipe, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "two"
    recipe = changed_recipe(sampled, {"stages": [{"steps": 2000, "image_size": 32, "batch_size": 4}]})
    with subprocess.Popen(
        command(recipe, out), stderr=subprocess.PIPE, text=True, start_new_session=True, env=environment()
    ) as run:
        deadline = time.monotonic() + 300
        while not (out / "metrics.jsonl").exists() and run.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
        os.killpg(run.pid, number)  # every process gets it, and from the launcher once more
        errors = run.communicate(timeout=120)[1]
    assert run.returncode != 0
    assert "the state is saved, --resume goes on" in errors
    steps = [int(line["step"]) for line in log_of(out, "loss")]
    assert max(int(path.stem[5:]) for path in (out / "states").iterdir()) == steps[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": [{"steps": 1, "image_size": 32, "batch_size": 3}]}, "a batch of 3 cannot be shared evenly by 2"),
        ({"sharded": True, "optimizer.kind": "muon"}, "muon works on whole matrices"),
    ],
)
def test_what_cannot_be_shared(sampled: Recipe, tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        together(changed_recipe(sampled, changes), tmp_path / "two")
    assert not (tmp_path / "two").exists()
