from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from refersat.data.masks import count_grey, read_mask
from refersat.errors import UserError
from tests.data.factories.pictures import rectangle, save_mask

TRUTH = rectangle(8, 6, 2, 1, 7, 4)


@pytest.mark.parametrize("mode", ["1", "L", "I;16", "RGB", "RGBA", "LA", "P"])
def test_a_mask_of_any_kind_is_foreground_above_zero(tmp_path, mode):
    grey = Image.fromarray(TRUTH.astype(np.uint8) * 7)
    if mode == "P":
        image = grey.copy()
        image.putpalette([255, 255, 255, 0, 0, 0] * 128)  # colours must not matter, indices do
    elif mode == "I;16":
        image = Image.fromarray(TRUTH.astype(np.uint16) * 300)
    else:
        image = (grey.point(lambda v: 255 * (v > 0)) if mode == "1" else grey).convert(mode)
    image.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png"), TRUTH)


def test_a_packbits_tiff_of_three_bands(tmp_path):
    save_mask(tmp_path / "mask.tif", TRUTH, bands=3)
    with Image.open(tmp_path / "mask.tif") as written:
        assert (written.mode, written.info["compression"]) == ("RGB", "packbits")
    assert np.array_equal(read_mask(tmp_path / "mask.tif", above=50), TRUTH)
    assert count_grey(tmp_path / "mask.tif") == 0


def test_grey_is_cut_and_counted(tmp_path):
    values = np.where(TRUTH, 255, 0).astype(np.uint8)
    values[0, :3] = (50, 51, 254)
    Image.fromarray(values).save(tmp_path / "mask.png")
    assert read_mask(tmp_path / "mask.png", above=50)[0, :3].tolist() == [False, True, True]
    assert read_mask(tmp_path / "mask.png")[0, :3].all()
    assert count_grey(tmp_path / "mask.png") == 3


@pytest.mark.parametrize("white", [0, 1, 255])
def test_two_values_are_not_grey(tmp_path, white):
    save_mask(tmp_path / "mask.png", TRUTH, white=white)
    assert count_grey(tmp_path / "mask.png") == 0


def test_a_file_that_is_no_mask_is_explained(tmp_path):
    (tmp_path / "mask.png").write_text("no picture")
    for read in (read_mask, count_grey):
        with pytest.raises(UserError, match=r"cannot read the mask .*mask\.png"):
            read(tmp_path / "mask.png")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_picture_that_is_cut_short_is_no_half_empty_mask(tmp_path, share):
    noise = np.random.default_rng(0).integers(0, 2, (80, 80)).astype(np.uint8) * 255
    Image.fromarray(noise).save(tmp_path / "mask.png")
    whole = (tmp_path / "mask.png").read_bytes()
    (tmp_path / "mask.png").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match=r"cannot read the mask .*mask\.png"):
        read_mask(tmp_path / "mask.png")
