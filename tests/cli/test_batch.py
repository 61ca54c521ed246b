"""`refersat batch` with a model that finds bright pixels: files, what it says, exit codes, and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import nn

from refersat.cli.batch import SOME_FAILED, duration
from refersat.cli.main import main
from tests.batch import stand_in

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("refersat.batch.job.weights_of", lambda model: {})  # hashing the built-in model takes a while
    stand_in.write_images(tmp_path / "images", 3)
    return tmp_path / "images"


def complaint(capsys: Captured, *words: object) -> str:
    """The one line on stderr of a command that the user got wrong."""
    assert main(["batch", *map(str, words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    return captured.err


def test_a_folder_of_images(fake_model: nn.Module, images: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    words = ["batch", str(images), "-t", "the square", "--out", str(out), "--device", "cpu", "--threads", "1"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.splitlines()[0].split() == ["rows", "found", "not", "there", "failed", "polygons", "time"]
    assert shown.out.splitlines()[1].split()[:5] == ["3", "3", "0", "0", "3"]
    assert "results.csv and polygons.parquet" in shown.out
    assert sorted(path.name for path in out.iterdir() if path.name != "lock") == [
        "batch.json",
        "polygons.parquet",
        "results.csv",
        "rows",
    ]
    assert "--resume" in complaint(capsys, *words[1:])
    assert main([*words, "--resume"]) == 0
    assert "3 of 3 rows are done" in capsys.readouterr().err
    assert "--threshold" in complaint(capsys, *words[1:], "--resume", "--threshold", "0.3")
    assert main([*words, "--overwrite", "--threshold", "0.3"]) == 0


def test_some_rows_fail(fake_model: nn.Module, images: Path, tmp_path: Path, capsys: Captured) -> None:
    (images / "broken.tif").write_text("no image")
    words = ["batch", str(images), "-t", "the square", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(words) == SOME_FAILED
    assert "1 x IMAGE is not an image" in capsys.readouterr().out


def test_a_dry_run_writes_nothing(fake_model: nn.Module, images: Path, tmp_path: Path, capsys: Captured) -> None:
    table = tmp_path / "table.csv"
    names = [f"images/image-00{k}.tif" for k in range(3)]
    table.write_text("image,phrase\n" + "".join(f"{name},the square\n" for name in names) + "images/x.tif,\n")
    words = ["batch", str(table), "--out", str(tmp_path / "out"), "--device", "cpu", "--dry-run"]
    assert main(words) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "4, of which 1 cannot be asked" in shown
    assert "3 rows about 3 images" in shown
    assert "3 images here, 0 failed" in shown
    assert "s per row and worker" in shown
    assert "may take" in shown
    assert "row 4: the phrase is empty" in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "no catalogue given"),
        (["{images}", "-t", "x"], "add --out"),
        (["{images}", "--out", "{out}"], "no phrase given"),
        (["{images}", "-t", " ", "--out", "{out}"], "phrase is empty"),
        (["{images}/none", "-t", "x", "--out", "{out}"], "no such catalogue"),
        (["{images}", "-t", "x", "--out", "{out}", "--as", "photo"], "--as is one of"),
        (["{images}", "-t", "x", "--out", "{out}", "--engine", "dask"], "--engine is one of local, ray"),
        (["{images}", "-t", "x", "--out", "{out}", "--workers", "2"], "are for --engine ray"),
        (["{images}", "-t", "x", "--out", "{out}", "--resume", "--overwrite"], "give one"),
        (["{images}", "-t", "x", "--out", "{out}", "--threshold", "7"], "0 to 1"),
        (["{images}", "-t", "x", "--out", "{out}", "--bands", "red"], "--bands takes"),
        (["{images}", "-t", "x", "--out", "{images}/image-000.tif"], "is a file"),
    ],
)
def test_mistakes_cost_one_line_and_leave_nothing(
    images: Path, tmp_path: Path, capsys: Captured, words: list[str], reason: str
) -> None:
    out = tmp_path / "out"
    assert reason in complaint(capsys, *(word.format(images=images, out=out) for word in words))
    assert not out.exists()


def test_an_unknown_model_is_a_mistake(tmp_path: Path, capsys: Captured) -> None:
    stand_in.write_images(tmp_path / "images", 1)
    words = (tmp_path / "images", "-t", "x", "--out", tmp_path / "out", "--model", tmp_path / "none")
    assert "no such model folder" in complaint(capsys, *words)
    assert not (tmp_path / "out").exists()


def test_without_ray(images: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    words = (images, "-t", "x", "--out", tmp_path / "out", "--engine", "ray")
    assert "pip install 'refersat[ray]'" in complaint(capsys, *words)


def test_durations_are_said_as_people_do() -> None:
    assert [duration(s) for s in (0.4, 48, 500, 27_000, 400_000)] == ["0 s", "48 s", "8.3 min", "7.5 h", "4.6 days"]
