"""`refersat scene` with a model that finds bright pixels: files, what it says, and mistakes that cost one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pyogrio
import pytest
import rasterio
from numpy.typing import NDArray
from torch import nn

from refersat.cli.main import main

Captured = pytest.CaptureFixture[str]


def complaint(capsys: Captured, *words: object) -> str:
    """The one line on stderr of a command that the user got wrong."""
    assert main(["scene", *map(str, words)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    return captured.err


def test_a_scene_and_phrases_become_rasters_and_polygons(
    geotiff: Path, tmp_path: Path, bright_square: NDArray[np.uint8], fake_model: nn.Module, capsys: Captured
) -> None:
    out = tmp_path / "found"
    words = ["scene", str(geotiff), "-t", "the square", "-t", "the unicorn", "--strategy", "tile", "--tile", "64"]
    assert main([*words, "--out", str(out), "--device", "cpu"]) == 0
    shown = capsys.readouterr()
    assert "901 m²" in shown.out  # on the ground: the scale of UTM is 0.9996 here
    assert "scene-1.tif, scene-2.tif, scene.gpkg" in " ".join(shown.out.split())
    assert sorted(path.name for path in out.iterdir()) == ["scene-1.tif", "scene-2.tif", "scene.gpkg"]
    with rasterio.open(out / "scene-1.tif") as mask, rasterio.open(geotiff) as scene:
        assert (mask.crs, mask.transform, mask.shape) == (scene.crs, scene.transform, scene.shape)
        np.testing.assert_array_equal(mask.read(1) > 0, bright_square[..., 0] > 127)
    with rasterio.open(out / "scene-2.tif") as mask:
        assert not mask.read(1).any()
    about = pyogrio.read_info(out / "scene.gpkg")
    assert list(about["fields"]) == ["phrase", "model", "score", "area_m2", "instance", "source", "version"]
    assert about["features"] == 1


def test_the_options_reach_the_run(geotiff: Path, tmp_path: Path, fake_model: nn.Module) -> None:
    out = tmp_path / "found"
    words = ["scene", str(geotiff), "-t", "the square", "--out", str(out), "--strategy", "tile", "--tile", "32"]
    more = ["--overlap", "0.5", "--gsd", "1.5", "--bands", "3,2,1", "--stretch", "0,250", "--threshold", "0.4"]
    last = ["--min-area", "9", "--instances", "--probability", "--format", "geojson", "--resume", "-v"]
    assert main([*words, *more, *last]) == 0
    names = ["scene-1.instances.tif", "scene-1.probability.tif", "scene-1.tif", "scene.geojson"]
    assert sorted(path.name for path in out.iterdir()) == names
    with rasterio.open(out / "scene-1.tif") as mask:
        tags = mask.tags()
    expected = {"OVERLAP": "0.5", "TILE": "32", "BANDS": "3,2,1", "STRETCH": "0,250; 0,250; 0,250", "THRESHOLD": "0.4"}
    assert expected.items() <= tags.items()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "no scene given"),
        (["{scene}"], "no phrase given"),
        (["{scene}", "-t", "a"], "add --out"),
        (["{scene}", "-t", "a", "--out", "{out}", "--strategy", "best"], "--strategy is one of"),
        (["{scene}", "-t", "a", "--out", "{out}", "--stretch", "much"], "--stretch takes"),
        (["{scene}", "-t", "a", "--out", "{out}", "--bands", "red"], "--bands takes"),
        (["{scene}", "-t", "a", "--out", "{out}", "--tile", "3"], "--tile is"),
        (["{scene}", "-t", "a", "--out", "{out}", "--aoi", "none.gpkg"], "no such file of polygons: none.gpkg"),
        (["{scene}", "-t", "a", "--out", "{out}", "--nodata", "black"], "--nodata"),
        (["{scene}", "-t", "a", "--out", "{out}", "--batch-size", "0"], "--batch-size"),
        (["{scene}", "-t", " ", "--out", "{out}"], "the phrase is empty"),
        (["missing.tif", "-t", "a", "--out", "{out}"], "no such image: missing.tif"),
    ],
)
def test_mistakes_cost_one_line_and_leave_nothing(
    geotiff: Path, tmp_path: Path, capsys: Captured, words: list[str], reason: str
) -> None:
    out = tmp_path / "out"
    assert reason in complaint(capsys, *(word.format(scene=geotiff, out=out) for word in words))
    assert not out.exists()


def test_mistakes_that_show_after_the_model_is_there(
    geotiff: Path, tmp_path: Path, fake_model: nn.Module, capsys: Captured
) -> None:
    words = [geotiff, "-t", "the square", "--out"]
    (tmp_path / "file").write_text("")
    assert "is a file: give a folder" in complaint(capsys, *words, tmp_path / "file")
    out = tmp_path / "out"
    assert "would leave 0.0 x 0.0 pixels" in complaint(capsys, *words, out, "--gsd", "100000")
    assert not out.exists()


@pytest.mark.parametrize("name", ["half.png", "half.tif"])
def test_half_a_file_is_refused(
    bright_square: NDArray[np.uint8], geotiff: Path, tmp_path: Path, capsys: Captured, name: str
) -> None:
    whole = geotiff
    if name == "half.png":
        whole = tmp_path / "whole.png"
        noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8)
        PIL.Image.fromarray(noise).save(whole)
    content = whole.read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    said = complaint(capsys, tmp_path / name, "-t", "a", "--out", tmp_path / "out")
    assert "damaged or cut short" in said
    assert not (tmp_path / "out").exists()


def test_a_border_that_counts_is_told_of_and_left_out_on_demand(
    geotiff: Path, tmp_path: Path, fake_model: nn.Module, capsys: Captured
) -> None:
    with rasterio.open(geotiff, "r+") as scene:
        values = scene.read()
        values[:, :10] = 0
        scene.write(values)
    words = ["scene", str(geotiff), "-t", "the square", "--out"]
    assert main([*words, str(tmp_path / "one")]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "12% of" in told
    assert "add --nodata 0" in told
    assert main([*words, str(tmp_path / "two"), "--nodata", "0"]) == 0
    assert "--nodata" not in capsys.readouterr().err
    with rasterio.open(tmp_path / "two" / "scene-1.tif") as mask:
        assert mask.tags()["NODATA"] == "0"
        assert not mask.read_masks(1)[:10].any()
        assert mask.read_masks(1)[10:].all()
