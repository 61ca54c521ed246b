"""A result as polygons, as files, on the ground."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyproj
import pytest
import rasterio
import rasterio.features
import shapely
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from refersat.errors import UserError
from refersat.imagery import Image, read_image
from refersat.output import output_folder, picture_png, write_file
from refersat.result import Result
from refersat.vector import LONGITUDE_LATITUDE, PIXELS, Ground, mask_polygons

Ask = Callable[..., Any]


def result_of(mask: NDArray[np.bool_], **place: Any) -> Result:
    image = Image(rgb=np.zeros((*mask.shape, 3), dtype=np.uint8), **place)
    return Result(
        image=image,
        phrase="the thing",
        model="fake",
        mask=mask,
        probability=mask.astype(np.float32),
        score=0.75,
        present=bool(mask.any()),
        seconds=0.1,
    )


@pytest.fixture
def ring() -> NDArray[np.bool_]:
    """40 x 60 pixels: a block of 20 x 20 with a hole of 10 x 10, and a single pixel that touches its corner."""
    mask = np.zeros((40, 60), dtype=bool)
    mask[10:30, 20:40] = True
    mask[15:25, 25:35] = False
    mask[30, 40] = True
    return mask


def utm(wkt: str = "EPSG:32631", pixel: float = 2.0) -> dict[str, Any]:
    crs = rasterio.crs.CRS.from_user_input(wkt)
    return {"crs_wkt": crs.wkt, "transform": Affine(pixel, 0, 500_000, 0, -pixel, 5_700_000)}


def test_area_and_box(ring: NDArray[np.bool_]) -> None:
    result = result_of(ring)
    assert (result.area_px, result.box) == (301, (20, 10, 41, 31))
    assert (result_of(ring & False).area_px, result_of(ring & False).box) == (0, None)
    assert repr(result) == "Result('the thing': 301 of 2400 px, score 0.75, model fake)"
    assert "not found" in repr(result_of(ring & False))


def test_polygons_have_holes_and_do_not_cross_corners(ring: NDArray[np.bool_]) -> None:
    block, pixel = result_of(ring).polygons()
    assert (block.area, len(block.interiors), pixel.area) == (300, 1, 1)
    assert block.bounds == (20, 10, 40, 30)


@given(arrays.arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_any_mask_has_valid_disjoint_polygons_that_draw_it_again(mask: NDArray[np.bool_]) -> None:
    polygons = mask_polygons(mask)
    assert all(polygon.is_valid and polygon.geom_type == "Polygon" for polygon in polygons)
    assert sum(polygon.area for polygon in polygons) == shapely.union_all(polygons).area == mask.sum()
    drawn = rasterio.features.rasterize(polygons, out_shape=mask.shape) if polygons else np.zeros(mask.shape)
    np.testing.assert_array_equal(drawn.astype(bool), mask)


def test_a_picture_loses_nothing_and_is_about_as_small_as_pillows() -> None:
    photo = read_image(Path(__file__).parents[1] / "examples" / "ships.jpg").rgb
    content, pillows = picture_png(photo), BytesIO()
    np.testing.assert_array_equal(np.asarray(PIL.Image.open(BytesIO(content))), photo)
    PIL.Image.fromarray(photo).save(pillows, "PNG", compress_level=1)
    assert len(content) < 1.05 * len(pillows.getvalue())


def test_files_of_a_georeferenced_result(ring: NDArray[np.bool_], tmp_path: Path) -> None:
    place = utm()
    result = result_of(ring, **place)
    mask, overlay, geojson = result.save(tmp_path / "new" / "scene.v1")
    names = ["scene.v1.geojson", "scene.v1.mask.tif", "scene.v1.overlay.png"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    with rasterio.open(mask) as source:
        np.testing.assert_array_equal(source.read(), ring[None] * np.uint8(255))
        assert (source.dtypes, source.transform) == (("uint8",), place["transform"])
        assert source.crs == rasterio.crs.CRS.from_epsg(32631)
        assert source.profile["compress"] == "deflate"
    assert read_image(overlay).width == 720

    collection = json.loads(geojson.read_text(encoding="utf-8"))
    assert collection["coordinate_system"] == LONGITUDE_LATITUDE
    assert not {"coordinates", "geometry", "properties", "geometries"} & set(collection)  # RFC 7946, section 7.1
    first, second = collection["features"]
    assert first["properties"] == {
        "phrase": "the thing",
        "score": 0.75,
        "model": "fake",
        "area": pytest.approx(300 * 4, rel=2e-3),
        "area_unit": "m2",
    }
    polygon = shapely.geometry.shape(first["geometry"])
    assert polygon.is_valid
    assert polygon.exterior.is_ccw
    assert not polygon.interiors[0].is_ccw
    back = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:32631", always_xy=True)
    east, north = back.transform(*polygon.exterior.xy)
    np.testing.assert_allclose(sorted({round(x) for x in east}), [500_040, 500_080])
    np.testing.assert_allclose(sorted({round(y) for y in north}), [5_699_940, 5_699_980])
    assert shapely.geometry.shape(second["geometry"]).area < polygon.area


def test_files_of_a_result_without_place(ring: NDArray[np.bool_], tmp_path: Path) -> None:
    mask, _, geojson = result_of(ring).save(tmp_path / "a")
    assert read_image(mask).crs_wkt is None
    collection = json.loads(geojson.read_text(encoding="utf-8"))
    assert collection["coordinate_system"] == PIXELS
    polygon = shapely.geometry.shape(collection["features"][0]["geometry"])
    assert polygon.bounds == (20, 10, 40, 30)
    assert collection["features"][0]["properties"]["area_unit"] == "px"
    empty = result_of(ring & False).save(tmp_path / "empty")[2]
    assert json.loads(empty.read_text(encoding="utf-8"))["features"] == []


def test_areas_in_metres_whatever_the_unit_of_the_crs() -> None:
    # On the ground, not on the map, whose scale differs by up to one in a thousand here.
    square = shapely.box(0, 0, 10, 10)
    metres = Ground.of(result_of(np.ones((10, 10), dtype=bool), **utm(pixel=3.0)).image)
    assert metres.area(square) == pytest.approx(900, rel=2e-3)
    new_york = Affine(3, 0, 1_000_000, 0, -3, 200_000)
    wkt = rasterio.crs.CRS.from_epsg(2263).wkt
    feet = Ground.of(Image(rgb=np.zeros((10, 10, 3), np.uint8), crs_wkt=wkt, transform=new_york))
    assert feet.area(square) == pytest.approx(900 * 0.3048006096**2, rel=2e-3)


def test_mercator_does_not_blow_areas_up() -> None:
    wkt = rasterio.crs.CRS.from_epsg(3857).wkt
    _, north = pyproj.Transformer.from_crs("EPSG:4326", "EPSG:3857", always_xy=True).transform(10, 60)
    ground = Ground.of(
        Image(rgb=np.zeros((10, 10, 3), np.uint8), crs_wkt=wkt, transform=Affine(2, 0, 1e6, 0, -2, north))
    )
    # At 60 degrees the map's metre is half a metre on the ground.
    assert ground.area(shapely.box(0, 0, 10, 10)) == pytest.approx(100, rel=1e-2)


def test_areas_in_degrees_are_geodesic() -> None:
    wkt = rasterio.crs.CRS.from_epsg(4326).wkt
    image = Image(rgb=np.zeros((100, 100, 3), np.uint8), crs_wkt=wkt, transform=Affine(1e-3, 0, 10, 0, -1e-3, 60.05))
    ground = Ground.of(image)
    degree = 111_412  # metres of one degree of latitude at 60 degrees; of longitude 55,800
    assert ground.area(shapely.box(0, 0, 100, 100)) == pytest.approx((0.1 * degree) * (0.1 * 55_800), rel=1e-3)
    assert ground.area_method.startswith("geodesic")
    assert ground.place(shapely.box(0, 0, 100, 100)).bounds == pytest.approx((10, 59.95, 10.1, 60.05))


def test_turned_and_mirrored_pixels_keep_their_place() -> None:
    turned = Affine(3**0.5, -1, 500_000, 1, 3**0.5, 5_700_000)  # by 30 degrees, rows to the north, pixels of 2 m
    wkt = rasterio.crs.CRS.from_epsg(32631).wkt
    ground = Ground.of(Image(rgb=np.zeros((9, 9, 3), np.uint8), crs_wkt=wkt, transform=turned))
    hole = shapely.Polygon(shapely.box(0, 0, 9, 9).exterior, [shapely.box(3, 3, 6, 6).exterior])
    placed = ground.place(hole)
    assert ground.area(hole) == pytest.approx((81 - 9) * 4, rel=2e-3)
    assert placed.exterior.is_ccw
    assert placed.is_valid
    assert len(placed.interiors) == 1


@pytest.mark.parametrize(
    "wkt",
    [
        'LOCAL_CS["site grid",UNIT["metre",1]]',
        'ENGCRS["site grid",EDATUM["site"],CS[Cartesian,2],AXIS["x",east],AXIS["y",north],LENGTHUNIT["metre",1]]',
    ],
)
def test_a_local_grid_gives_pixels(wkt: str) -> None:
    ground = Ground.of(result_of(np.ones((5, 5), dtype=bool), crs_wkt=wkt, transform=Affine.scale(2)).image)
    assert (ground.coordinate_system, ground.area_unit) == (PIXELS, "px")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.bin"
    write_file(target, b"old")

    def full(self: Path, content: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="No space left"):
        write_file(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]
    assert target.read_bytes() == b"old"


def write_and_fail(path: Path) -> None:
    path.touch()
    raise OSError(path)


def test_an_output_folder_that_stays_empty_goes_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    with pytest.raises(ZeroDivisionError), output_folder(folder):
        1 / 0  # noqa: B018
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match="kept"), output_folder(folder):
        write_and_fail(folder / "kept")
    assert (folder / "kept").exists()


def test_output_folders_that_cannot_be(tmp_path: Path, ring: NDArray[np.bool_]) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="file"):
            result_of(ring).save(folder / "stem")
