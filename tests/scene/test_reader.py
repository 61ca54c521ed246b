"""A scene's pixels: any window, one radiometry, what counts and what does not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp, Resampling

from refersat.errors import UserError
from refersat.imagery import read_image
from refersat.radiometry import parse_stretch
from refersat.scene.collar import Collar
from refersat.scene.reader import SceneReader
from refersat.scene.window import Window
from tests.scene.scenes import METRE, UTM, blobs

WriteScene = Callable[..., Path]
WriteRaster = Callable[..., Path]


def whole(reader: SceneReader) -> Window:
    return Window(0, 0, reader.width, reader.height)


def test_any_window_also_over_the_border(write_scene: WriteScene) -> None:
    values = blobs(40, 50)
    with SceneReader(write_scene(values)) as reader:
        assert (reader.width, reader.height, reader.placed) == (50, 40, True)
        patch = reader.read(Window(-5, 30, 20, 15))
        outside = reader.read(Window(50, 0, 8, 8))
    assert patch.pixels.shape == (15, 20, 3)
    np.testing.assert_array_equal(patch.pixels[:10, 5:, 1], values[30:, :15])
    assert not patch.pixels[10:].any()
    assert not patch.pixels[:, :5].any()
    np.testing.assert_array_equal(patch.valid[:10, 5:], True)
    assert patch.valid.sum() == 150
    assert not outside.valid.any()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_a_scene_looks_like_the_image_that_it_is(write_raster: WriteRaster, dtype: str) -> None:
    bands = np.stack([blobs(70, 90, seed=seed).astype(dtype) * 3 for seed in range(4)])
    path = write_raster("a.tif", bands)
    with SceneReader(path) as reader:
        np.testing.assert_array_equal(reader.read(whole(reader)).pixels, read_image(path).rgb)
        part = reader.read(Window(13, 17, 20, 30)).pixels
    np.testing.assert_array_equal(part, read_image(path).rgb[17:47, 13:33])
    with SceneReader(path, bands=(4, 3, 2)) as reader:
        np.testing.assert_array_equal(reader.read(whole(reader)).pixels, read_image(path, bands=(4, 3, 2)).rgb)


def test_the_stretch_is_the_scene_s_and_not_the_window_s(write_scene: WriteScene) -> None:
    values = np.linspace(1000, 3000, 2500).reshape(50, 50).astype(np.uint16)
    path = write_scene(values)
    with SceneReader(path) as reader:
        dark, bright = reader.read(Window(0, 0, 50, 5)).pixels, reader.read(Window(0, 45, 50, 5)).pixels
    assert dark.max() < 40 < 215 < bright.min()
    with SceneReader(path, stretch=(0, 4000)) as reader:
        np.testing.assert_allclose(reader.read(whole(reader)).pixels[..., 0], values / 4000 * 255, atol=0.51)
    with SceneReader(path, stretch="none") as reader:
        assert (reader.read(whole(reader)).pixels == 255).all()
    grey = np.linspace(50, 90, 400).reshape(20, 20).astype(np.uint8)
    for stretch, ends in ((None, (50, 90)), ("none", (50, 90)), ("percentile", (0, 255))):
        with SceneReader(write_scene(grey, "grey.tif"), stretch=stretch) as reader:
            pixels = reader.read(whole(reader)).pixels
        assert (pixels.min(), pixels.max()) == ends


def test_large_scenes_are_stretched_by_an_overview_or_by_samples(
    write_scene: WriteScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = (np.add.outer(np.arange(600), np.arange(500)) * 20).astype(np.uint16)
    monkeypatch.setattr("refersat.scene.sample.SAMPLED_PIXELS", 40_000)
    expected = np.percentile(values, [2, 98])
    path = write_scene(values, tiled=True, blockxsize=64, blockysize=64)
    with SceneReader(path) as reader:
        sampled = reader.radiometry.ranges
    with rasterio.open(path, "r+") as dataset:
        dataset.build_overviews([2, 4], Resampling.nearest)
    with SceneReader(path) as reader:
        shrunk = reader.radiometry.ranges
    for ranges in (sampled, shrunk):
        assert ranges is not None
        np.testing.assert_allclose(ranges[0], expected, atol=0.03 * values.max())


@pytest.mark.parametrize(("text", "expected"), [("none", "none"), ("percentile", "percentile"), ("0,30.5", (0, 30.5))])
def test_stretches_as_words(text: str, expected: Any) -> None:
    assert parse_stretch(text) == expected


@pytest.mark.parametrize("text", ["", "0", "5,5", "9,1", "a,b", "0,nan", "1,2,3"])
def test_stretches_that_make_no_sense(text: str) -> None:
    with pytest.raises(UserError, match="--stretch"):
        parse_stretch(text)


def test_what_does_not_count(write_scene: WriteScene, write_raster: WriteRaster) -> None:
    values = np.maximum(blobs(40, 50), 1)
    values[:, :20] = 0
    alpha = np.stack([values, values, values, (values > 0) * np.uint8(255)])
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    nodata = write_scene(values, "nodata.tif", nodata=0)
    transparent = write_raster("alpha.tif", alpha, interpretation=colours)
    masked = write_scene(values, "masked.tif")
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(masked, "r+") as dataset:
        dataset.write_mask(values > 0)
    for path in (nodata, transparent, masked):
        with SceneReader(path) as reader:
            assert reader.has_holes
            patch = reader.read(Window(-10, 0, 40, 40))
            np.testing.assert_array_equal(patch.valid, np.pad(values[:, :30] > 0, ((0, 0), (10, 0))))
            np.testing.assert_array_equal(reader.read_valid(whole(reader)), values > 0)


def test_a_model_sees_no_edge_where_the_data_ends(write_scene: WriteScene) -> None:
    values = np.zeros((30, 40, 3), np.uint8)
    values[:, 20:] = 90, 120, 30
    values[:, 30:] = 100, 130, 50
    with SceneReader(write_scene(values, nodata=0)) as reader:
        patch = reader.read(whole(reader))
        seen = patch.image()
    assert not patch.pixels[:, :20].any()
    assert seen.valid is not None
    np.testing.assert_array_equal(seen.valid, np.broadcast_to(np.arange(40) >= 20, (30, 40)))
    assert (seen.rgb[:, :20] == (95, 125, 40)).all()
    np.testing.assert_array_equal(seen.rgb[:, 20:], values[:, 20:])
    with SceneReader(write_scene(values, "full.tif")) as reader:
        seen = reader.read(whole(reader)).image()
    assert seen.valid is None
    np.testing.assert_array_equal(seen.rgb, values)


def test_what_lies_outside_of_the_area_of_interest_is_still_seen(write_scene: WriteScene) -> None:
    values = np.maximum(blobs(30, 40), 1)
    with SceneReader(write_scene(values)) as reader:
        reader.limit_to(shapely.box(0, 0, 20, 30))
        seen = reader.read(whole(reader)).image()
    np.testing.assert_array_equal(seen.rgb[..., 0], values)
    assert seen.valid is not None
    assert seen.valid.sum() == 20 * 30


def test_near_infrared_tagged_as_alpha_hides_nothing(write_raster: WriteRaster) -> None:
    bands = np.stack([blobs(40, 50, seed=seed) for seed in range(4)])
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
    with SceneReader(write_raster("a.tif", bands, interpretation=colours)) as reader:
        assert not reader.has_holes
        assert reader.read(whole(reader)).valid.all()


@pytest.mark.parametrize("size", [(20, 25), (7, 9), (80, 100)])
def test_resampled_reading_keeps_things_in_place(write_scene: WriteScene, size: tuple[int, int]) -> None:
    values = np.full((40, 50), 20, np.uint8)
    values[20:, 25:] = 220
    with SceneReader(write_scene(values)) as reader:
        pixels = reader.read(whole(reader), size).pixels[..., 0]
        corner = reader.read(Window(25, 20, 25, 20), (10, 10)).pixels
    assert pixels.shape == size
    assert pixels.mean() == pytest.approx(values.mean(), abs=4)
    assert pixels[-1, -1] == 220
    assert pixels[0, 0] == 20
    assert corner.mean() > 200


def test_an_area_of_interest_counts_by_pixel_centres(write_scene: WriteScene) -> None:
    with SceneReader(write_scene(blobs(40, 50))) as reader:
        reader.limit_to(shapely.box(10.4, 5.6, 30, 20))
        assert reader.extent == Window(10, 5, 20, 15)
        valid = reader.read(whole(reader)).valid
        assert valid.sum() == 20 * 14
        assert valid[6:20, 10:30].all()
        with pytest.raises(UserError, match="outside"):
            reader.limit_to(shapely.box(100, 100, 120, 120))


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (METRE, (1.0, 1.0)),
        (Affine(0.5, 0, 5e5, 0, 0.5, 5.7e6), (0.5, 0.5)),  # south up
        (METRE @ Affine.rotation(30) @ Affine.scale(2, 3), (2.0, 3.0)),
    ],
)
def test_metres_per_pixel(write_scene: WriteScene, transform: Affine, expected: tuple[float, float]) -> None:
    with SceneReader(write_scene(blobs(40, 50), transform=transform)) as reader:
        assert reader.gsd == pytest.approx(expected, rel=2e-3)
    degrees = Affine(1e-5, 0, 5.0, 0, -1e-5, 60.0)
    with SceneReader(write_scene(blobs(40, 50), "degrees.tif", crs="EPSG:4326", transform=degrees)) as reader:
        assert reader.gsd == pytest.approx((0.558, 1.114), rel=1e-2)
    with SceneReader(write_scene(blobs(40, 50), "none.tif", crs=None, transform=None)) as reader:
        assert (reader.gsd, reader.placed, reader.crs_wkt) == (None, False, None)


def test_ground_control_points_alone_are_refused_with_what_to_do(write_scene: WriteScene) -> None:
    corners = [GroundControlPoint(row, column, column, -row) for row in (0, 40) for column in (0, 50)]
    path = write_scene(blobs(40, 50), crs=None, transform=None)
    with rasterio.open(path, "r+") as dataset:
        dataset.gcps = (corners, rasterio.crs.CRS.from_string(UTM))
    with pytest.raises(UserError, match="gdalwarp -t_srs"):
        SceneReader(path)


def test_rpcs_alone_are_refused_with_what_to_do(write_scene: WriteScene) -> None:
    path = write_scene(blobs(40, 50), crs=None, transform=None)
    one = " ".join(["1"] + ["0"] * 19)
    numbers = dict.fromkeys(
        [f"{what}_{kind}" for what in ("LINE", "SAMP", "LAT", "LONG", "HEIGHT") for kind in ("OFF", "SCALE")], "1"
    )
    coefficients = dict.fromkeys([f"{w}_{k}_COEFF" for w in ("LINE", "SAMP") for k in ("NUM", "DEN")], one)
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns="RPC", **numbers, **coefficients)
    with pytest.raises(UserError, match="gdalwarp -rpc"):
        SceneReader(path)


def test_what_is_no_scene_is_refused(tmp_path: Path, write_scene: WriteScene) -> None:
    (tmp_path / "text.tif").write_text("no picture")
    for name, reason in {"text.tif": "cannot read it as a raster", "none.tif": "no such", ".": "folder"}.items():
        with pytest.raises(UserError, match=reason):
            SceneReader(tmp_path / name)
    with pytest.raises(UserError, match="no band 4"):
        SceneReader(write_scene(blobs(9, 9)), bands=(1, 2, 4))
    path = write_scene(blobs(400, 400), "cut.tif", compress="deflate")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match="damaged"), SceneReader(path) as reader:
        reader.read(whole(reader))


def test_a_stac_item_leads_to_its_asset(write_scene: WriteScene, tmp_path: Path, no_network: None) -> None:
    write_scene(blobs(20, 30), "one.tif")
    assets = {
        "thumbnail": {"href": "thumb.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
        "visual": {"href": "./one.tif", "type": "image/tiff; application=geotiff"},
        "B08": {"href": "missing.tif", "type": "image/tiff"},
    }
    item = tmp_path / "item.json"
    item.write_text(json.dumps({"type": "Feature", "stac_version": "1.0.0", "assets": assets}))
    for asset in (None, "visual"):
        with SceneReader(item, asset=asset) as reader:
            assert (reader.width, reader.source.stem) == (30, "one")
    with pytest.raises(UserError, match=r"no such image: .*missing\.tif"):
        SceneReader(item, asset="B08")
    with pytest.raises(UserError, match="it has B08, thumbnail, visual"):
        SceneReader(item, asset="red")
    with pytest.raises(UserError, match="STAC"):
        SceneReader(tmp_path / "one.tif", asset="visual")
    del assets["visual"], assets["thumbnail"]
    assets["B04"] = assets["B08"]
    item.write_text(json.dumps({"type": "Feature", "assets": assets}))
    with pytest.raises(UserError, match="choose with --asset, from B04, B08"):
        SceneReader(item)


def test_a_value_without_data_that_the_file_does_not_mark(write_scene: WriteScene) -> None:
    values = np.repeat(np.maximum(blobs(80, 90), 1)[..., None], 3, axis=2)
    values[:20, :30] = 0
    values[50, 50] = 0, 0, 7  # black in two bands only
    path = write_scene(values)
    with SceneReader(path) as reader:
        assert not reader.has_holes
        assert reader.collar == Collar(0.0, 600 / 7200)
        assert reader.read(whole(reader)).valid.all()
    with SceneReader(path, nodata=0) as reader:
        assert reader.has_holes
        assert reader.collar is None
        expected = values.any(axis=2)
        np.testing.assert_array_equal(reader.read(whole(reader)).valid, expected)
        np.testing.assert_array_equal(reader.read_valid(Window(10, 5, 40, 50)), expected[5:55, 10:50])


def test_nodata_adds_to_what_the_file_says_and_may_be_nan(write_raster: WriteRaster) -> None:
    values = np.linspace(1, 2, 1200, dtype=np.float32).reshape(1, 30, 40)
    values[:, :5] = np.nan
    values[:, 20:] = -9
    with SceneReader(write_raster("a.tif", values, nodata=-9), nodata=math.nan) as reader:
        valid = reader.read(whole(reader)).valid
        low, high = reader.radiometry.ranges[0]
    assert valid[5:20].all()
    assert not valid[:5].any()
    assert not valid[20:].any()
    assert 1 < low < high < 2  # not of what holds no data


def test_dark_pixels_inside_are_no_collar(write_scene: WriteScene) -> None:
    values = np.full((80, 90), 99, np.uint8)
    values[20:60, 20:60] = 0
    values[70, 70] = 255
    with SceneReader(write_scene(values)) as reader:
        assert reader.collar is None
