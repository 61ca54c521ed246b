"""Images of any shape in a square, at their own proportions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from refersat.models.grounding.letterbox import fitted, letterbox
from refersat.models.preprocess import normalise


@pytest.mark.parametrize(
    ("shape", "expected"), [((800, 800), (64, 64)), ((300, 600), (32, 64)), ((50, 20), (64, 26)), ((1, 900), (1, 64))]
)
def test_the_longer_side_fits(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted(shape, 64) == expected
    image = np.full((*shape, 3), 255, np.uint8)
    pixel_values, valid = letterbox([image], 64)
    assert pixel_values.shape == (1, 3, 64, 64)
    height, width = expected
    assert valid[0].tolist() == pytest.approx([width / 64, height / 64])
    white = normalise(image[:1, :1])[0, :, 0, 0]
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[:height, :width] = True
    torch.testing.assert_close(pixel_values[0][:, inside], white[:, None].expand(-1, int(inside.sum())))
    assert (pixel_values[0][:, ~inside] == 0).all()


def test_an_image_of_the_right_size_is_as_it_was() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    pixel_values, _ = letterbox([image, image[:32]], 64)
    torch.testing.assert_close(pixel_values[0], normalise(image)[0])
