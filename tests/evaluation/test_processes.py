"""Real processes with a tiny real model: killed half-way, several workers, several ranks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.tokenizer import train_tokenizer
from tests.models.tiny_rs2sam2 import TINY

pytestmark = pytest.mark.slow

SAMPLES = 23  # no multiple of any number of processes or batch size used here
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model of random weights, random images of many sizes, and one finished evaluation."""
    place = tmp_path_factory.mktemp("processes")
    config = RS2Sam2Config(**{**TINY, "vocab_size": 80})
    torch.manual_seed(0)
    model = RS2Sam2Model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    model.save_pretrained(place / "model")
    train_tokenizer(
        [f"the {size} ship on the {side}" for size in "ab" for side in ("left", "right")], place / "model", 60
    )
    _write_data(place / "data")
    run(place, "whole")
    return place


def _write_data(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    items: list[dict[str, Any]] = []
    for k in range(SAMPLES):
        image = k // 2 if k % 5 else k  # some images have several phrases, not all side by side
        size = (int(40 + image), int(90 - image))
        path = folder / f"{image}.png"
        if not path.exists():
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
        item = {
            "id": k,
            "image": path.name,
            "mask": None,
            "sentence": f"the ship on the {'left' if k % 2 else 'right'}",
        }
        if k % 4:
            item["mask"] = f"{k}.mask.png"
            Image.fromarray((rng.random(size) < 0.5).astype(np.uint8) * 255).save(folder / f"{k}.mask.png")
        items.append(item)
    (folder / "refs.json").write_text(json.dumps(items))


def words(place: Path, out: str, *more: str) -> list[str]:
    source = f"triplets:{place / 'data'}"
    return ["evaluate", "--model", str(place / "model"), "--data", source, "--out", str(place / out), *more]


def run(place: Path, out: str, *more: str, launcher: tuple[str, ...] = ("-m", "refersat")) -> None:
    command = [sys.executable, *launcher, *words(place, out, "--device", "cpu", *more)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    assert done.returncode == 0, done.stderr


def results(place: Path, out: str) -> tuple[Any, str, list[str]]:
    """What must not depend on how the work was done."""
    folder = place / out
    metrics = json.loads((folder / "metrics.json").read_text())
    cases = sorted(path.name for path in (folder / "progress" / "cases").iterdir())
    numbers = {key: value for key, value in metrics.items() if key not in ("time", "run")}
    return numbers, (folder / "per_sample.csv").read_text(), cases


def lines(place: Path, out: str) -> list[bytes]:
    return [line for file in (place / out / "progress").glob("*.jsonl") for line in file.read_bytes().splitlines()]


def test_the_model_answers_something(place: Path) -> None:
    metrics = results(place, "whole")[0]
    assert metrics["native"]["count"] + metrics["presence"]["count_absent"] == SAMPLES
    assert metrics["native"]["oIoU"] > 0


def kill_half_way(place: Path, out: str, *more: str) -> list[bytes]:
    """Start an evaluation and kill its main process once it has done a few samples; what it had written by then."""
    command = [sys.executable, "-m", "refersat", *words(place, out, "--device", "cpu", *more)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | ONE_THREAD)
    try:
        while len(lines(place, out)) < 5:
            assert process.poll() is None, "ended before it could be killed"
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (place / out / "metrics.json").exists()
    return lines(place, out)


def test_killed_half_way_the_same_command_goes_on(place: Path) -> None:
    before = kill_half_way(place, "killed")
    assert len(before) < SAMPLES + 1
    run(place, "killed")
    after = lines(place, "killed")
    assert after[: len(before) - 1] == before[:-1]  # the last line may have been cut short
    assert len(after) == SAMPLES + 1
    assert results(place, "killed") == results(place, "whole")


def test_workers_change_nothing(place: Path) -> None:
    run(place, "workers", "--workers", "2")
    assert len(list((place / "workers" / "progress").glob("*.jsonl"))) == 2
    assert results(place, "workers") == results(place, "whole")


def test_ranks_of_a_launcher_change_nothing(place: Path) -> None:
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "refersat")
    run(place, "ranks", launcher=launcher)
    assert len(list((place / "ranks" / "progress").glob("*.jsonl"))) == 2
    assert results(place, "ranks") == results(place, "whole")


def test_a_killed_main_process_takes_its_workers_along(place: Path) -> None:
    kill_half_way(place, "orphans", "--workers", "2")
    time.sleep(2)
    after_a_while = lines(place, "orphans")
    time.sleep(2)
    assert lines(place, "orphans") == after_a_while
    run(place, "orphans", "--workers", "3")  # another number of workers goes on as well
    assert results(place, "orphans") == results(place, "whole")


def test_a_worker_s_mistake_is_the_command_s(place: Path) -> None:
    broken = place / "broken data"
    _write_data(broken)
    (broken / "3.png").write_bytes(b"no image")
    command = [sys.executable, "-m", "refersat", "evaluate", "--model", str(place / "model"), "--workers", "2"]
    command += ["--data", f"triplets:{broken}", "--out", str(place / "broken"), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | ONE_THREAD)
    assert done.returncode == 2
    assert "3.png" in done.stderr.splitlines()[-1]
    assert not (place / "broken" / "metrics.json").exists()
