"""`refersat predict` with a model that finds bright pixels: files, JSON, and mistakes that cost one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import rasterio
from numpy.typing import NDArray
from torch import nn

from refersat.cli.main import main

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def png(tmp_path: Path, bright_square: NDArray[np.uint8]) -> Path:
    PIL.Image.fromarray(bright_square).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def complaint(capsys: Captured, *words: object) -> str:
    """The one line on stderr of a command that the user got wrong."""
    assert main(["predict", *map(str, words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert len(captured.err) < 600
    return captured.err


def test_images_times_phrases(
    fake_model: nn.Module, geotiff: Path, png: Path, tmp_path: Path, capsys: Captured, bright_square: NDArray[np.uint8]
) -> None:
    out = tmp_path / "new" / "out"
    words = ["predict", str(geotiff), str(png), "-t", "the square", "--text", "the unicorn", "--out", str(out)]
    assert main([*words, "--json", "--device", "cpu"]) == 0
    captured = capsys.readouterr()
    items: list[dict[str, Any]] = json.loads(captured.out)
    assert [(item["image"], item["phrase"]) for item in items] == [
        (str(path), phrase) for path in (geotiff, png) for phrase in ("the square", "the unicorn")
    ]
    found, absent = items[:2]
    keys = {"image", "phrase", "model", "present", "score", "area_px", "box", "mask", "seconds"}
    assert set(found) == keys
    assert (found["model"], found["present"], found["mask"]) == ("fake", True, str(out / "scene-1.mask.tif"))
    assert np.abs(np.array(found["box"]) - (30, 20, 60, 50)).max() <= 2
    assert (absent["present"], absent["box"], absent["area_px"]) == (False, None, 0)
    assert files(out) == sorted(
        [f"{stem}-{k}.{kind}" for stem in ("scene", "photo") for k in (1, 2) for kind in ("mask.tif", "overlay.png")]
        + ["scene.geojson", "photo.geojson"]
    )
    with rasterio.open(geotiff) as source, rasterio.open(found["mask"]) as mask:
        assert (mask.crs, mask.transform, mask.shape) == (source.crs, source.transform, source.shape)
        assert mask.read().sum() == 255 * found["area_px"]
    features = json.loads((out / "scene.geojson").read_text(encoding="utf-8"))["features"]
    assert [feature["properties"]["phrase"] for feature in features] == ["the square"]
    assert features[0]["properties"]["area"] == pytest.approx(found["area_px"], rel=2e-3)  # pixels of one metre
    assert "4/4" in captured.err


def test_one_question_needs_no_progress_bar(fake_model: nn.Module, png: Path, tmp_path: Path, capsys: Captured) -> None:
    assert main(["predict", str(png), "-t", "the [red]square", "--out", str(tmp_path / "out")]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "the [red]square" in captured.out
    assert "px" in captured.out


def test_explain_draws_a_sheet_for_every_answer(
    fake_model: nn.Module, geotiff: Path, png: Path, tmp_path: Path, capsys: Captured
) -> None:
    words = ["predict", str(geotiff), str(png), "-t", "the square", "-t", "the unicorn", "--out", str(tmp_path / "out")]
    assert main([*words, "--explain", str(tmp_path / "why")]) == 0
    assert files(tmp_path / "why") == [f"{stem}-{k}.explain.png" for stem in ("photo", "scene") for k in (1, 2)]
    with PIL.Image.open(tmp_path / "why" / "scene-1.explain.png") as sheet:
        assert sheet.width > sheet.height > 300
    assert "and 4 .explain.png to" in " ".join(capsys.readouterr().out.split())
    assert not list((tmp_path / "out").glob("*.explain.png"))


def test_a_sheet_never_overwrites_an_input(fake_model: nn.Module, png: Path, tmp_path: Path, capsys: Captured) -> None:
    clash = tmp_path / "photo-1.explain.png"
    PIL.Image.open(png).save(clash)
    words = (png, clash, "-t", "it", "--out", tmp_path / "out", "--explain", tmp_path)
    assert "give another --explain" in complaint(capsys, *words)


def test_verbose_says_what_runs(fake_model: nn.Module, png: Path, tmp_path: Path, capsys: Captured) -> None:
    words = ["predict", str(png), "-t", "it", "--out", str(tmp_path / "out"), "-v", "--json"]
    assert main([*words, "--device", "cpu", "--dtype", "float32"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)) == 1
    assert "device cpu" in captured.err
    assert "dtype float32" in captured.err


def test_bands_and_threshold_reach_the_model(
    fake_model: nn.Module, png: Path, tmp_path: Path, capsys: Captured
) -> None:
    words = ["predict", str(png), "-t", "it", "--out", str(tmp_path / "out"), "--json", "--bands", "3,2,1"]
    areas = []
    for threshold in ("0", "0.5", "1"):
        assert main([*words, "--threshold", threshold]) == 0
        areas.append(json.loads(capsys.readouterr().out)[0]["area_px"])
    assert areas[0] == 8000 > areas[1] > areas[2] == 0


def test_more_images_than_stay_in_memory(fake_model: nn.Module, tmp_path: Path, capsys: Captured) -> None:
    for number in range(12):
        PIL.Image.new("L", (20 + number, 10), 255 * (number % 2)).save(tmp_path / f"{number:02}.png")
    images = [str(path) for path in sorted(tmp_path.glob("*.png"))]
    assert main(["predict", *images, "-t", "it", "--out", str(tmp_path / "out"), "--json", "--batch-size", "5"]) == 0
    areas = [item["area_px"] for item in json.loads(capsys.readouterr().out)]
    assert areas == [10 * (20 + number) * (number % 2) for number in range(12)]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["-t", "it"], "no image given"),
        (["{png}"], "no phrase given"),
        (["{png}", "-t", " "], "phrase is empty"),
        (["{png}", "-t", "x" * 10_000], "10000 characters"),
        (["{png}", "-t", "it", "--threshold", "1.5"], "0 to 1"),
        (["{png}", "-t", "it", "--threshold", "nan"], "0 to 1"),
        (["{png}", "-t", "it", "--threshold", "high"], "threshold"),
        (["{png}", "-t", "it", "--device", "gpu"], "auto, cpu, cuda or mps"),
        (["{png}", "-t", "it", "--dtype", "int4"], "float32"),
        (["{png}", "-t", "it", "--batch-size", "0"], "greater than or equal to 1"),
        (["{png}", "-t", "it", "--bands", "1,2"], "one band or three"),
        (["{png}", "-t", "it", "--bands", "red"], "numbers"),
        (["{png}", "-t", "it", "--bands", "7"], "no band 7"),
        (["{png}", "{tmp}/missing.tif", "-t", "it"], "no such image"),
        (["{png}", "{tmp}", "-t", "it"], "is a folder"),
        (["{png}", "{tmp}/text.tif", "-t", "it"], "not an image"),
        (["{png}", "{tmp}/short.jpg", "-t", "it"], "damaged"),
        (["{png}", "{tmp}/other/PHOTO.tif", "-t", "it"], "different --out"),
        (["{png}", "{png}", "-t", "it"], "different --out"),
        (["{png}", "-t", "it", "--out", "{png}"], "is a file"),
        (["{png}", "-t", "it", "--out", "{png}/below"], "cannot write"),
        (["{png}", "-t", "it", "--out", "{tmp}/" + "long" * 100], "too long"),
        (["{tmp}/" + "long" * 100, "-t", "it"], "too long"),
    ],
)
def test_mistakes_cost_one_line_and_write_nothing(
    fake_model: nn.Module, png: Path, tmp_path: Path, capsys: Captured, words: list[str], reason: str
) -> None:
    (tmp_path / "other").mkdir()
    PIL.Image.open(png).save(tmp_path / "other" / "PHOTO.tif")
    (tmp_path / "text.tif").write_text("not a picture", encoding="utf-8")
    PIL.Image.effect_noise((90, 90), 80).save(tmp_path / "short.jpg")
    (tmp_path / "short.jpg").write_bytes((tmp_path / "short.jpg").read_bytes()[:2000])
    before = files(tmp_path)
    filled = [word.format(png=png, tmp=tmp_path) for word in words]
    defaults = [] if "--out" in words else ["--out", str(tmp_path / "out")]
    assert reason in complaint(capsys, *filled, *defaults)
    assert files(tmp_path) == before


def test_an_unknown_model_is_a_mistake(png: Path, tmp_path: Path, capsys: Captured) -> None:
    assert "built-in" in complaint(capsys, png, "-t", "it", "--model", "nonsense", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_cuda_without_cuda_is_a_mistake(
    png: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "--device cpu" in complaint(capsys, png, "-t", "it", "--device", "cuda", "--out", tmp_path / "out")


def test_a_folder_without_write_permission_is_a_mistake(
    fake_model: nn.Module, png: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("tempfile.TemporaryFile", refused)  # root may write anywhere, so the mode alone proves nothing
    assert "Permission denied" in complaint(capsys, png, "-t", "it", "--out", locked)
    assert files(locked) == []


def test_an_input_is_never_overwritten(fake_model: nn.Module, png: Path, tmp_path: Path, capsys: Captured) -> None:
    clash = tmp_path / "photo-1.mask.tif"
    PIL.Image.open(png).save(clash)
    content = clash.read_bytes()
    assert "overwrite" in complaint(capsys, png, clash, "-t", "it", "--out", tmp_path)
    assert clash.read_bytes() == content


def test_a_disk_that_is_full_leaves_no_part_of_a_file(
    fake_model: nn.Module, png: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left" in complaint(capsys, png, "-t", "it", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
