"""A run knows the pixels that it learned from, wherever they lie."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from refersat.errors import UserError
from refersat.training.data_files import files_of, fingerprint
from refersat.training.loop import train
from refersat.training.recipe import Recipe
from refersat.training.setup import set_up
from tests.training.runs import log_of

MakeRecipe = Callable[..., Recipe]


def test_images_and_masks_of_samples(make_sample_recipe: MakeRecipe, triplets: Path) -> None:
    names = {path.name for path in files_of(set_up(make_sample_recipe()))}
    assert names == {path.name for path in triplets.iterdir()} - {"refs.json"}
    fewer = make_sample_recipe(data={"validation_split": None})
    assert len(files_of(set_up(fewer))) == len(names) - 3  # two images, of which one has a mask


def test_images_of_outlined_objects_and_what_is_measured(make_recipe: MakeRecipe, data_set: SimpleNamespace) -> None:
    files = files_of(set_up(make_recipe(validation_samples=None)))
    assert set(data_set.images.iterdir()) <= set(files)
    assert {path for path in files if "mask" in path.as_posix()} <= set(data_set.validation.rglob("*"))
    assert any("mask" in path.as_posix() for path in files)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """A PNG that is no longer than what is looked at, one that is, and a JPEG."""
    draw = np.random.default_rng(0)
    paths = [tmp_path / name for name in ("small.png", "large.png", "large.jpg")]
    for path, side in zip(paths, (16, 300, 500), strict=True):
        Image.fromarray(draw.integers(0, 255, (side, side, 3), np.uint8)).save(path)
    assert [path.stat().st_size > 3 * 2**14 for path in paths] == [False, True, True]
    return paths


def test_one_pixel_is_seen(pictures: list[Path]) -> None:
    seen = {fingerprint(pictures)}
    for number, path in enumerate(pictures, start=1):
        with Image.open(path) as image:
            pixels = np.array(image)
        pixels[2 * len(pixels) // 3, len(pixels) // 3] ^= 128
        Image.fromarray(pixels).save(path)
        seen.add(fingerprint(pictures))
        assert len(seen) == number + 1


def test_a_copy_is_the_same_and_another_name_is_not(pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    copies = [shutil.copyfile(path, tmp_path / "elsewhere" / path.name) for path in pictures]
    os.utime(copies[0], (1, 1))
    assert fingerprint(copies) == fingerprint(pictures)
    copies[0] = copies[0].rename(copies[0].with_name("other.png"))
    assert fingerprint(copies) != fingerprint(pictures)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*gone\.png: No such file"):
        fingerprint([tmp_path / "gone.png"])


def test_other_pixels_are_told_when_a_run_goes_on(
    make_sample_recipe: MakeRecipe, triplets: Path, tmp_path: Path
) -> None:
    data = shutil.copytree(triplets, tmp_path / "data")
    recipe = make_sample_recipe(data={"train": f"triplets:{data}"})
    train(recipe, tmp_path / "run")
    train(recipe, tmp_path / "run", resume=True)
    with Image.open(data / "0.png") as image:
        image.transpose(Image.Transpose.ROTATE_180).save(data / "0.png")
    train(recipe, tmp_path / "run", resume=True)
    told = [line["recipe_changed"] for line in log_of(tmp_path / "run") if "resumed" in line]
    assert told == [[], ["(the files of the data)"]]
