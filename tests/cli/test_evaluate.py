"""`refersat evaluate` from the command line, with a model that finds bright pixels."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from refersat.cli.main import main

pytestmark = pytest.mark.usefixtures("fake_model")


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({"weight": torch.ones(1)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """Two targets, found to a pixel or so, and a unicorn that is nowhere; the second target is in another split."""
    folder = tmp_path / "data"
    folder.mkdir()
    truth = np.zeros((64, 128), dtype=np.uint8)
    truth[16:48, 32:96] = 255
    Image.fromarray(truth).convert("RGB").save(folder / "a.png")
    Image.fromarray(truth).save(folder / "mask.png")
    items = [
        {"id": 1, "image": "a.png", "mask": "mask.png", "sentence": "the square", "type": "attribute", "split": "val"},
        {"id": 2, "image": "a.png", "mask": "mask.png", "sentence": "the roof", "type": "position", "split": "test"},
        {"id": 3, "image": "a.png", "mask": None, "sentence": "the unicorn", "type": "absent-x", "split": "val"},
    ]
    (folder / "refs.json").write_text(json.dumps(items))
    return folder


@pytest.fixture
def words(model_folder: Path, data_folder: Path, tmp_path: Path) -> dict[str, str]:
    return {"--model": str(model_folder), "--data": f"triplets:{data_folder}", "--out": str(tmp_path / "out")}


def evaluate(words: dict[str, str], **more: str) -> int:
    options = words | {f"--{name.replace('_', '-')}": value for name, value in more.items()}
    return main(["evaluate", *(word for option in options.items() for word in option)])


def metrics(tmp_path: Path, out: str = "out") -> Any:
    return json.loads((tmp_path / out / "metrics.json").read_text())


def test_writes_metrics_and_samples(
    words: dict[str, str], tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(words, split="all", dtype="float32", device="cpu") == 0
    found = metrics(tmp_path)
    for protocol in ("native", "480", "1024"):
        numbers = found[protocol]
        assert list(numbers)[:8] == ["mIoU", "oIoU", "Pr@0.5", "Pr@0.6", "Pr@0.7", "Pr@0.8", "Pr@0.9", "count"]
        assert 90 < numbers["mIoU"] <= 100
        assert (numbers["Pr@0.9"], numbers["count"]) == (100, 2)
        assert set(numbers["by_type"]) == {"attribute", "position"}
        assert list(numbers["by_size"]) == [">8%"]
    assert (found["presence"]["absent_accuracy"], found["presence"]["presence_auroc"]) == (100, 100)
    weights = hashlib.sha256((model_folder / "model.safetensors").read_bytes()).hexdigest()
    assert found["model"] == {"name": "fake", "parameters": 1, "weights_sha256": {"model.safetensors": weights}}
    assert found["data"]["fingerprint"] == hashlib.sha256((tmp_path / "data" / "refs.json").read_bytes()).hexdigest()
    assert (found["run"]["device"], found["run"]["dtype"], found["run"]["threshold"]) == ("cpu", "float32", 0.5)
    assert set(found["protocols"]) == {"native", "480", "1024"}
    with (tmp_path / "out" / "per_sample.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(line["id"], line["phrase"], line["iou"] != "") for line in lines] == [
        ("1", "the square", True),
        ("2", "the roof", True),
        ("3", "the unicorn", False),
    ]
    out, err = capsys.readouterr()
    assert "mIoU" in out
    assert "native" in out
    assert "phrases that name nothing (1): 100.00 % answered empty" in out
    assert "3/3" in err


def test_split_and_limit(words: dict[str, str], tmp_path: Path) -> None:
    assert evaluate(words, split="val", protocol="native") == 0
    found = metrics(tmp_path)
    assert (found["native"]["count"], found["presence"]["count_absent"]) == (1, 1)
    assert "480" not in found
    assert evaluate(words, split="val", limit="1", out=str(tmp_path / "out2")) == 0
    assert metrics(tmp_path, "out2")["presence"]["count_absent"] == 0


def test_the_folder_of_another_evaluation_is_left_alone(
    words: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluate(words, protocol="native") == 0
    before = (tmp_path / "out" / "metrics.json").read_bytes()
    assert evaluate(words, protocol="480") == 2
    assert "differs from this one (--protocol): give another --out, or --overwrite" in capsys.readouterr().err
    assert (tmp_path / "out" / "metrics.json").read_bytes() == before
    assert (
        main(["evaluate", *(word for option in words.items() for word in option), "--protocol", "480", "--overwrite"])
        == 0
    )
    assert "native" not in metrics(tmp_path)


def test_several_data_sets(words: dict[str, str], data_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(data_folder, tmp_path / "more")
    assert (
        main(["evaluate", *(w for option in words.items() for w in option), "--data", f"triplets:{tmp_path / 'more'}"])
        == 0
    )
    native = metrics(tmp_path)["native"]
    assert {name: part["count"] for name, part in native["by_dataset"].items()} == {"data": 2, "more": 2}
    assert native["count"] == 4


def test_comparing_two_evaluations(words: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, threshold in (("a", "0.999"), ("b", "0.5")):
        assert evaluate(words, out=str(tmp_path / name), threshold=threshold) == 0
    capsys.readouterr()
    folders = [str(tmp_path / "a"), str(tmp_path / "b")]
    assert main(["evaluate", "--compare", *folders, "--out", str(tmp_path / "both")]) == 0
    out = capsys.readouterr().out
    assert "won: 1" in out
    assert "2 samples won, 0 lost" in out
    comparison = json.loads((tmp_path / "both" / "compare.json").read_text())
    assert (comparison["a"], comparison["b"], comparison["count"]) == ("a", "b", 2)
    assert [flip["id"] for flip in comparison["flips"]] == ["1", "2"]
    assert (tmp_path / "both" / "compare.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "x"], "give --data KIND:PATH"),
        (["--data", "triplets:x"], "give --out FOLDER"),
        (["--compare", "nowhere", "x"], "nowhere holds no finished evaluation"),
        (["--compare", "nowhere", "x", "--data", "triplets:x"], "leave --data out"),
    ],
)
def test_what_belongs_together(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": "train"}, "no split 'train'; it has test, val"),
        ({"protocol": "512"}, "unknown protocol '512'"),
        ({"data": "somewhere"}, "must be given as KIND:PATH"),
        ({"data": "zip:somewhere"}, "unknown kind of data 'zip'"),
        ({"data": "triplets:nowhere"}, "cannot read nowhere"),
        ({"threshold": "1.5"}, "threshold"),
        ({"limit": "0"}, "--limit"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    words: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, str],
    message: str,
) -> None:
    assert evaluate(words, **changes) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert (out, err.count("\n")) == ("", 1)
    assert not (tmp_path / "out").exists()


def test_a_mistake_met_on_the_way_leaves_nothing(
    words: dict[str, str], data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("L", (3, 3)).save(data_folder / "mask.png")
    assert evaluate(words) == 2
    assert "the mask has 3x3 pixels, the image 128x64" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
