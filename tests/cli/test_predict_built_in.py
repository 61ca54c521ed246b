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


def test_the_command_line_answers_about_a_georeferenced_example(tmp_path: Path) -> None:
    """How good the answers are is no matter of this test: the model's card and `refersat evaluate` tell."""
    words = ["predict", str(EXAMPLES / "bridge.tif"), "-t", "the bridge", "-t", "the airplane", "--device", "cpu"]
    command = [sys.executable, "-m", "refersat", *words, "--out", str(tmp_path), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answers = json.loads(done.stdout)
    assert [answer["phrase"] for answer in answers] == ["the bridge", "the airplane"]
    features = json.loads((tmp_path / "bridge.geojson").read_text(encoding="utf-8"))["features"]
    for answer in answers:
        assert answer["model"] == "built-in"
        with rasterio.open(answer["mask"]) as mask, rasterio.open(EXAMPLES / "bridge.tif") as image:
            assert (mask.crs, mask.transform, mask.shape) == (image.crs, image.transform, image.shape)
            painted = np.count_nonzero(mask.read(1) == 255)
        assert answer["area_px"] == painted
        assert answer["present"] == (painted > 0)
        assert answer["present"] == any(f["properties"]["phrase"] == answer["phrase"] for f in features)


@pytest.mark.parametrize(
    ("dtype", "batch_size", "tolerance"),
    # In bfloat16 products of other shapes are rounded elsewhere: equal is what a CPU answers image by image.
    [("float32", 3, 1e-3), ("bfloat16", None, 1e-6)],
)
def test_a_batch_gives_what_one_by_one_gives(dtype: str, batch_size: int | None, tolerance: float) -> None:
    segmenter = refersat.load("built-in", device="cpu", dtype=dtype)
    images = [EXAMPLES / name for name in ("bridge.tif", "ships.jpg", "cars.tif")]
    phrases = ["the bridge", "the ship at the very bottom of the image", "all vehicles"]
    together = segmenter.batch(images, phrases, batch_size=batch_size)
    for image, phrase, batched in zip(images, phrases, together, strict=True):
        alone = segmenter(image, phrase)
        assert alone.score == pytest.approx(batched.score, abs=1e-4)
        np.testing.assert_allclose(alone.probability, batched.probability, atol=tolerance)
        assert (alone.mask != batched.mask).mean() < 1e-4
