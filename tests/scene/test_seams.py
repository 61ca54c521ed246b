"""The built-in model answers in tiles as it does where each pixel is the mean of many views, within a tolerance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scene_seams import answers

import refersat
from refersat.scene.reader import SceneReader

CARS = Path(__file__).parents[2] / "examples" / "cars.tif"
PHRASES = ["all vehicles"]

EQUAL_PIXELS, MEAN_DIFFERENCE = 0.98, 0.02
"""What docs/how-to/segment-a-scene.md promises: the share on the same side of the threshold, and of probability."""


@pytest.mark.slow
def test_few_tiles_answer_like_many() -> None:
    segmenter = refersat.load("built-in", device="cpu")
    with SceneReader(CARS) as reader:
        (few,), tiles, _ = answers(reader, segmenter, PHRASES, 400, 0.25)
        (many,), more, _ = answers(reader, segmenter, PHRASES, 400, 0.7)
    assert (tiles, more) == (4, 16)
    assert (few > segmenter.threshold).any()
    assert ((few > segmenter.threshold) == (many > segmenter.threshold)).mean() >= EQUAL_PIXELS
    assert 0 < np.abs(few - many).mean() <= MEAN_DIFFERENCE
