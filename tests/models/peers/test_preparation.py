"""Images are prepared as the files of a peer's repository say, and as Transformers would do it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import GroundingDinoImageProcessorPil

from refersat.errors import UserError
from refersat.models.peers.preparation import Preparation

ONE_GREY_LEVEL = 1.01 / 255 / 0.224


def write(folder: Path, name: str = "preprocessor_config.json", **content: Any) -> Path:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


@pytest.mark.parametrize("resample", [2, 3])
@pytest.mark.parametrize("shape", [(80, 80), (60, 100), (300, 70), (120, 40), (33, 400)])
def test_fitting_is_what_transformers_does(tmp_path: Path, shape: tuple[int, int], resample: int) -> None:
    # Smooth, as photographs are: the two round differently where noise overshoots.
    x, y = np.meshgrid(np.arange(2 * shape[1]), np.arange(2 * shape[0]))
    image = np.stack([127 + 100 * np.sin(x / 7 + k) * np.cos(y / 9) for k in range(3)], axis=-1).astype(np.uint8)
    folder = write(
        tmp_path,
        image_processor_type="GroundingDinoImageProcessor",
        image_mean=[0.485, 0.456, 0.406],
        image_std=[0.229, 0.224, 0.225],
        resample=resample,
        size={"shortest_edge": 64, "longest_edge": 128},
    )
    theirs = GroundingDinoImageProcessorPil.from_pretrained(folder)(image, return_tensors="pt")["pixel_values"]
    ours = Preparation().read(folder).to_fit(image)
    if min(theirs.shape[-2:]) < 32:
        assert min(ours.shape[-2:]) == 32
        return
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() < 2 * ONE_GREY_LEVEL
    assert (ours - theirs).abs().mean() < 0.5 * ONE_GREY_LEVEL


def test_a_square_is_rescaled_and_normalised(tmp_path: Path) -> None:
    image = np.array([[[0, 255, 51]]], dtype=np.uint8).repeat(8, 0).repeat(6, 1)
    folder = write(tmp_path, image_mean=[0.5, 0.5, 0.2], image_std=[0.5, 0.25, 0.1])
    pixels = Preparation().read(folder).to_square(image, 4)
    assert pixels.shape == (1, 3, 4, 4)
    torch.testing.assert_close(pixels[0, :, 2, 2], torch.tensor([-1.0, 2.0, 0.0]), atol=1e-6, rtol=0)


def test_the_processor_s_file_may_hold_it_too(tmp_path: Path) -> None:
    usual = Preparation()
    assert usual.read(tmp_path) == usual
    write(tmp_path, "processor_config.json", processor_class="Sam2VideoProcessor", target_size=1024)
    assert usual.read(tmp_path) == usual
    write(tmp_path, "processor_config.json", image_processor={"image_mean": [0.5, 0.4, 0.3], "size": {"height": 9}})
    assert usual.read(tmp_path) == Preparation(mean=(0.5, 0.4, 0.3))
    write(tmp_path, image_std=[0.1, 0.2, 0.3], image_mean=None, resample=3)
    assert usual.read(tmp_path) == Preparation(std=(0.1, 0.2, 0.3), interpolation="bicubic")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"do_normalize": False}, "resized, rescaled and normalised"),
        ({"do_center_crop": True}, "never cropped"),
        ({"rescale_factor": 1.0}, "1/255"),
        ({"resample": 1}, "cannot prepare"),
        ({"image_mean": [0.5]}, "three numbers each, not 1"),
        ({"image_std": "abc"}, "cannot prepare"),
        ({"size": 800}, "cannot prepare"),
    ],
)
def test_what_is_not_done_here_is_refused(tmp_path: Path, content: dict[str, Any], message: str) -> None:
    write(tmp_path, **content)
    with pytest.raises(UserError, match=message) as caught:
        Preparation().read(tmp_path)
    assert "preprocessor_config.json" in str(caught.value)


def test_damaged_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(UserError, match="cannot read"):
        Preparation().read(tmp_path)
