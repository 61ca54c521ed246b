"""From pixels to the two views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from refersat.models.preprocess import IMAGENET_MEAN, IMAGENET_STD, normalise, preprocess


@dataclass
class Sizes:
    """The part of a configuration that preprocessing reads."""

    image_size: int = 64
    union_image_size: int = 32
    resize_antialias: bool = True


def views(*images: NDArray[np.uint8], **sizes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    config: Any = Sizes(**sizes)
    return preprocess(images, config)


def constant(colour: tuple[int, int, int], height: int = 5, width: int = 9) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array(colour, dtype=np.uint8), (height, width, 3)).copy()


def standardised(colour: tuple[int, int, int]) -> list[float]:
    return [(c / 255 - m) / s for c, m, s in zip(colour, IMAGENET_MEAN, IMAGENET_STD, strict=True)]


@given(st.lists(st.tuples(st.integers(1, 90), st.integers(1, 90)), min_size=1, max_size=3), st.booleans())
@settings(deadline=None, max_examples=30)
def test_any_image_sizes_make_one_batch(sizes: list[tuple[int, int]], antialias: bool) -> None:
    colours = [(index * 90, 17, 250 - index) for index in range(len(sizes))]
    images = [constant(colour, *size) for colour, size in zip(colours, sizes, strict=True)]
    large, union = views(*images, resize_antialias=antialias)
    assert large.shape == (len(images), 3, 64, 64)
    assert union.shape == (len(images), 3, 32, 32)
    assert large.dtype == union.dtype == torch.float32
    # A constant image stays constant, in its own place of the batch.
    for view in (large, union):
        for sample, colour in zip(view, colours, strict=True):
            expected = torch.tensor(standardised(colour)).view(3, 1, 1).expand_as(sample)
            torch.testing.assert_close(sample, expected, rtol=0, atol=1e-5)


def test_normalise_is_imagenet_standardisation() -> None:
    pixels = normalise(constant((0, 128, 255)))
    assert pixels.shape == (1, 3, 5, 9)
    # Numbers, not the formula again: ImageNet's statistics written out.
    expected = [-0.485 / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert pixels[0, :, 2, 3].tolist() == pytest.approx(expected, abs=1e-6)


def test_an_image_of_the_models_size_keeps_its_pixels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for antialias in (True, False):
        large, _ = views(image, resize_antialias=antialias)
        torch.testing.assert_close(large, normalise(image))


def test_the_whole_image_is_squeezed_without_a_crop_or_a_border() -> None:
    image = constant((0, 0, 0), 20, 160)
    image[:, 80:] = 255
    large, _ = views(image)
    left, right = standardised((0, 0, 0))[0], standardised((255, 255, 255))[0]
    assert large[0, 0, :, :31] == pytest.approx(left, abs=1e-5)
    assert large[0, 0, :, 33:] == pytest.approx(right, abs=1e-5)


def test_rows_stay_rows() -> None:
    image = constant((0, 0, 0), 40, 40)
    image[:10] = 255
    large, union = views(image)
    for view in (large, union):
        assert view[0, 0, 0].min() > view[0, 0, -1].max()


def test_antialiasing_sees_what_plain_sampling_steps_over() -> None:
    # Every eighth column is bright. Plain bilinear sampling to a quarter and to an eighth looks at the middle of every
    # four and eight columns, where all is black; anti-aliasing takes all columns into account.
    image = constant((0, 0, 0), 256, 256)
    image[:, ::8] = 255
    black, white = standardised((0, 0, 0))[0], standardised((255, 255, 255))[0]
    for plain, smooth in zip(views(image, resize_antialias=False), views(image, resize_antialias=True), strict=True):
        torch.testing.assert_close(plain[0, 0], torch.full_like(plain[0, 0], black))
        assert smooth[0, 0].mean() == pytest.approx(black + (white - black) / 8, abs=0.05)


def test_enlarging_is_the_same_with_and_without_antialiasing() -> None:
    image = np.random.default_rng(1).integers(0, 256, (17, 23, 3), dtype=np.uint8)
    plain, _ = views(image, resize_antialias=False)
    smooth, _ = views(image, resize_antialias=True)
    torch.testing.assert_close(plain, smooth, rtol=0, atol=1e-4)
