"""`refersat predict` as a user runs it: its own process, the model of the package, the example images."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

import refersat

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def segmenter() -> refersat.Segmenter:
    return refersat.load("built-in", device="cpu")


def test_the_command_line_finds_the_bridge_and_no_airplane(tmp_path: Path) -> None:
    words = ["predict", str(EXAMPLES / "bridge.tif"), "-t", "the bridge", "-t", "the airplane", "--device", "cpu"]
    command = [sys.executable, "-m", "refersat", *words, "--out", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    bridge, airplane = json.loads(done.stdout)
    assert bridge["model"] == airplane["model"] == "built-in"
    assert bridge["present"]
    assert bridge["score"] > airplane["score"]
    with rasterio.open(bridge["mask"]) as mask, rasterio.open(EXAMPLES / "bridge.tif") as image:
        assert (mask.crs, mask.transform, mask.shape) == (image.crs, image.transform, image.shape)
        assert mask.read(1)[300, 330] == 255  # the middle of the bridge
    features = json.loads((tmp_path / "bridge.geojson").read_text(encoding="utf-8"))["features"]
    longitude, latitude = features[0]["geometry"]["coordinates"][0][0]
    assert (round(longitude, 2), round(latitude, 2)) == (120.98, 14.6)  # the Pasig in Manila


def test_a_batch_gives_what_one_by_one_gives(segmenter: refersat.Segmenter) -> None:
    images = [EXAMPLES / name for name in ("bridge.tif", "ships.jpg", "cars.tif")]
    phrases = ["the bridge", "the ship at the very bottom of the image", "all vehicles"]
    together = segmenter.batch(images, phrases, batch_size=3)
    for image, phrase, batched in zip(images, phrases, together, strict=True):
        alone = segmenter(image, phrase)
        assert alone.score == pytest.approx(batched.score, abs=1e-4)
        np.testing.assert_allclose(alone.probability, batched.probability, atol=1e-3)
        assert (alone.mask != batched.mask).mean() < 1e-4
