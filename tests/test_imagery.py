"""Every kind of raster becomes three 8-bit bands, and what cannot is refused in one line."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from refersat import imagery
from refersat.errors import UserError
from refersat.imagery import read_image

RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
PLACE = Affine(2.0, 0.0, 500_000.0, 0.0, -2.0, 5_700_000.0)


@pytest.fixture
def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp", "a.webp", "a.tga", "a.ppm", "a.jp2"])
def test_eight_bit_colours_stay_as_they_are(tmp_path: Path, noise: NDArray[np.uint8], name: str) -> None:
    PIL.Image.fromarray(noise).save(tmp_path / name, lossless=True)  # only WebP looks at the option
    image = read_image(tmp_path / name)
    np.testing.assert_array_equal(image.rgb, noise)
    assert (image.crs_wkt, image.transform, image.valid) == (None, None, None)
    assert (image.height, image.width, image.path) == (40, 56, tmp_path / name)


def test_jpeg_is_read_closely(tmp_path: Path, bright_square: NDArray[np.uint8]) -> None:
    PIL.Image.fromarray(bright_square).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").rgb.astype(int) - bright_square).mean() < 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_every_8_bit_mode_looks_like_pillow_shows_it(
    tmp_path: Path, bright_square: NDArray[np.uint8], mode: str, ending: str
) -> None:
    if (mode, ending) == ("CMYK", "png"):
        ending = "jpg"
    picture = PIL.Image.fromarray(bright_square).convert(mode)
    picture.save(tmp_path / f"a.{ending}")
    difference = read_image(tmp_path / f"a.{ending}").rgb.astype(int) - np.asarray(picture.convert("RGB"))
    assert np.abs(difference).mean() < (3 if ending == "jpg" else 1)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 8, 13])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "float32", "float64"])
def test_any_number_of_bands_of_any_type(write_raster: Callable[..., Path], count: int, dtype: str) -> None:
    ramp = np.tile(np.linspace(0, 100, 64), (count, 32, 1)) + np.arange(count)[:, None, None]
    rgb = read_image(write_raster("a.tif", ramp.astype(dtype))).rgb
    assert rgb.shape == (32, 64, 3)
    assert rgb.dtype == np.uint8
    assert (np.diff(rgb[0].astype(int), axis=0) >= 0).all()
    shown = (100, 102) if dtype == "uint8" else (255, 255)
    assert shown[0] <= rgb.max() <= shown[1]


def test_sixteen_bits_are_stretched_between_percentiles(write_raster: Callable[..., Path]) -> None:
    values = np.linspace(1000, 3000, 10_000).reshape(1, 100, 100).astype(np.uint16)
    values[0, 0, 0], values[0, -1, -1] = 0, 65535  # outliers do not matter
    rgb = read_image(write_raster("a.tif", values)).rgb
    low, high = np.percentile(values, [2, 98])
    expected = np.clip((values[0] - low) / (high - low) * 255, 0, 255)
    assert np.abs(rgb[..., 0] - expected).max() <= 0.51


def test_a_small_bright_thing_on_an_even_ground_survives_the_stretch(write_raster: Callable[..., Path]) -> None:
    values = np.full((1, 100, 100), 500, dtype=np.uint16)
    values[0, 50:55, 50:55] = 900
    rgb = read_image(write_raster("a.tif", values)).rgb
    assert rgb[52, 52, 0] == 255
    assert rgb[0, 0, 0] == 0
    assert not read_image(write_raster("b.tif", np.full((1, 9, 9), 500, dtype=np.uint16))).rgb.any()


def test_nodata_and_nan_do_not_count_in_the_stretch(write_raster: Callable[..., Path]) -> None:
    ramp = np.tile(np.linspace(10, 20, 100, dtype=np.float32), (3, 50, 1))
    holed = np.concatenate([ramp, np.full((3, 50, 100), -9999, dtype=np.float32)], axis=1)
    holed[:, 0, 0] = np.nan
    image = read_image(write_raster("a.tif", holed, nodata=-9999))
    whole = read_image(write_raster("b.tif", ramp))
    assert np.abs(image.rgb[1:50].astype(int) - whole.rgb[1:]).max() <= 1
    assert image.valid is not None
    np.testing.assert_array_equal(image.valid[50:], np.zeros((50, 100), dtype=bool))
    assert image.valid[1:50].all()


def test_transparent_pixels_are_no_data_and_colours_are_not_blended(tmp_path: Path, noise: NDArray[np.uint8]) -> None:
    alpha = np.full((40, 56, 1), 255, dtype=np.uint8)
    alpha[:10] = 0
    PIL.Image.fromarray(np.concatenate([noise, alpha], axis=2)).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", PIL.Image.open(tmp_path / "a.png")):
        image = read_image(source)
        np.testing.assert_array_equal(image.rgb, noise)
        assert image.valid is not None
        np.testing.assert_array_equal(image.valid, alpha[..., 0] > 0)


def test_near_infrared_that_is_tagged_as_alpha_hides_nothing(
    write_raster: Callable[..., Path], noise: NDArray[np.uint8]
) -> None:
    infrared = np.random.default_rng(1).integers(0, 200, (1, 40, 56), dtype=np.uint8)
    bands = np.concatenate([np.moveaxis(noise, -1, 0), infrared])
    image = read_image(write_raster("a.tif", bands, interpretation=(*RGB, ColorInterp.alpha)))
    np.testing.assert_array_equal(image.rgb, noise)
    assert image.valid is None


def test_bands_are_found_by_their_colours_or_by_number(
    write_raster: Callable[..., Path], noise: NDArray[np.uint8]
) -> None:
    bands = np.concatenate([np.zeros((1, 40, 56), np.uint8), np.moveaxis(noise[..., ::-1], -1, 0)])
    path = write_raster("a.tif", bands, interpretation=(ColorInterp.undefined, *RGB[::-1]))
    np.testing.assert_array_equal(read_image(path).rgb, noise)
    np.testing.assert_array_equal(read_image(path, bands=(2, 3, 4)).rgb, noise[..., ::-1])
    np.testing.assert_array_equal(read_image(path, bands=(4,)).rgb, noise[..., [0, 0, 0]])
    for wrong in ((1, 2), (0, 1, 2), (3, 4, 5)):
        with pytest.raises(UserError, match="band"):
            read_image(path, bands=wrong)


def test_georeferencing_is_kept(write_raster: Callable[..., Path], noise: NDArray[np.uint8]) -> None:
    bands = np.moveaxis(noise, -1, 0)
    path = write_raster("a.tif", bands, crs="EPSG:28992", transform=PLACE)
    image = read_image(path)
    assert image.transform == PLACE
    assert image.crs_wkt is not None
    with rasterio.open(path) as source:
        assert rasterio.crs.CRS.from_wkt(image.crs_wkt) == source.crs


def test_pixels_stay_where_the_file_stores_them_despite_exif(tmp_path: Path, noise: NDArray[np.uint8]) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turn by a quarter to show it
    PIL.Image.fromarray(noise).save(tmp_path / "a.jpg", exif=exif)
    PIL.Image.fromarray(noise).save(tmp_path / "b.png", exif=exif)
    assert read_image(tmp_path / "a.jpg").rgb.shape == (40, 56, 3)
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").rgb, noise)


def test_arrays_and_pillow_images(noise: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(read_image(noise).rgb, noise)
    np.testing.assert_array_equal(read_image(PIL.Image.fromarray(noise)).rgb, noise)
    np.testing.assert_array_equal(read_image(noise[..., 0]).rgb, noise[..., [0, 0, 0]])
    assert set(np.unique(read_image(noise[..., 0] > 127).rgb)) == {0, 255}
    assert read_image(PIL.Image.fromarray(noise[..., 0].astype(np.int32) * 100)).rgb.max() == 255
    image = read_image(noise)
    assert read_image(image) is image


@pytest.mark.parametrize("shape", [(3, 40, 56), (40, 56, 2), (40,), (0, 5, 3)])
def test_arrays_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="array"):
        read_image(np.zeros(shape, dtype=np.uint8))


def test_other_things_are_refused(noise: NDArray[np.uint8]) -> None:
    nonsense: Any = 3
    with pytest.raises(UserError, match="int"):
        read_image(nonsense)
    with pytest.raises(UserError, match="complex"):
        read_image(noise.astype(np.complex64))


@pytest.mark.parametrize("ending", ["png", "jpg", "tif", "bmp", "gif", "webp", "jp2", "tga"])
@pytest.mark.parametrize("kept", [0.02, 0.6])
def test_a_file_cut_short_is_refused(tmp_path: Path, noise: NDArray[np.uint8], ending: str, kept: float) -> None:
    path = tmp_path / f"a.{ending}"
    PIL.Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    with pytest.raises(UserError, match=r"a\.\w+ is (damaged|not an image)"):
        read_image(path)


def test_what_is_no_image_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text.tif").write_text("not a picture", encoding="utf-8")
    (tmp_path / "empty.png").touch()
    cases = {
        "text.tif": "not an image",
        "empty.png": "empty",
        "missing.png": "no such",
        ".": "folder",
        "a\0b": "no such",
    }
    for name, reason in cases.items():
        with pytest.raises(UserError, match=reason):
            read_image(tmp_path / name)
    monkeypatch.setattr(imagery, "MAX_PIXELS", 100)
    PIL.Image.new("RGB", (20, 20)).save(tmp_path / "large.png")
    with pytest.raises(UserError, match="pixels"):
        read_image(tmp_path / "large.png")


def test_a_header_that_claims_a_huge_image_is_refused_before_any_pixel(tmp_path: Path) -> None:
    PIL.Image.new("RGB", (1, 1)).save(tmp_path / "bomb.png")
    content = (tmp_path / "bomb.png").read_bytes()
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + content[24:29]
    (tmp_path / "bomb.png").write_bytes(content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:])
    with pytest.raises(UserError, match="more than 100 million pixels"):
        read_image(tmp_path / "bomb.png")
