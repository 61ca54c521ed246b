"""From a scene and phrases to files that overlay it in any GIS."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pyproj
import pytest
import rasterio
import shapely
from affine import Affine
from rasterio.features import rasterize

from refersat import __version__
from refersat.errors import UserError
from refersat.scene.scene import Scene
from tests.scene.scenes import METRE, UTM, PixelModel, blobs, read

Segment = Callable[..., Any]
WriteScene = Callable[..., Path]

FIELDS = ["phrase", "model", "score", "area_m2", "instance", "source", "version"]
LOCAL = 'LOCAL_CS["site grid",UNIT["metre",1]]'
NO_CODE = "+proj=laea +lat_0=51.3 +lon_0=4.2 +x_0=1234 +y_0=-77 +ellps=GRS80 +units=m"  # a projection of somebody's own


def features(path: Path) -> tuple[dict[str, Any], dict[str, list[Any]], list[shapely.Polygon]]:
    about, _, geometry, columns = pyogrio.raw.read(path)
    return about, dict(zip(about["fields"], map(list, columns), strict=True)), list(shapely.from_wkb(geometry))


def test_the_raster_has_the_scene_s_frame_and_the_polygons_overlay_it(
    segment: Segment, write_scene: WriteScene
) -> None:
    values = blobs(150, 210, grain=20)
    path = write_scene(values)
    one, other = segment(path, "all ships", "the  bridge", tile=64)
    assert [one.mask.name, other.mask.name, one.vectors.name] == ["scene-1.tif", "scene-2.tif", "scene.gpkg"]
    assert sorted(file.name for file in one.mask.parent.iterdir()) == ["scene-1.tif", "scene-2.tif", "scene.gpkg"]
    with rasterio.open(path) as scene, rasterio.open(one.mask) as mask:
        assert (mask.shape, mask.crs, mask.transform) == (scene.shape, scene.crs, scene.transform)
        assert (mask.count, mask.dtypes) == (1, ("uint8",))
        assert mask.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        np.testing.assert_array_equal(mask.read(1), (values > 127) * np.uint8(255))
        assert (mask.read_masks(1) == 255).all()
    about, columns, shapes = features(one.vectors)
    assert list(about["fields"]) == FIELDS
    assert rasterio.crs.CRS.from_user_input(about["crs"]).to_epsg() == 32631
    assert set(columns["phrase"]) == {"all ships", "the bridge"}
    assert set(columns["version"]) == {__version__}
    assert set(columns["source"]) == {str(path)}
    first = [shape for shape, phrase in zip(shapes, columns["phrase"], strict=True) if phrase == "all ships"]
    assert [columns["instance"][k] for k in range(len(first))] == list(range(1, len(first) + 1))
    assert one.objects == len(first)
    painted = rasterize(first, values.shape, transform=METRE)
    assert ((painted > 0) == (values > 127)).mean() > 0.995
    assert all(shape.is_valid and shape.exterior.is_ccw for shape in shapes)
    assert sum(columns["area_m2"][: len(first)]) == pytest.approx((values > 127).sum(), rel=2e-3)
    assert one.area_m2 == pytest.approx(sum(columns["area_m2"][: len(first)]))
    assert one.pixels == (values > 127).sum()


def test_no_polygon_ends_at_a_seam(segment: Segment, write_scene: WriteScene) -> None:
    values = np.zeros((300, 260), np.uint8)
    values[140:150, 5:255] = 230  # a road over all tiles
    values[20:280, 100:104] = 200
    values[230:236, 30:60] = 250
    (found,) = segment(write_scene(values), tile=64)
    _, columns, shapes = features(found.vectors)
    assert len(shapes) == 2
    cross = max(shapes, key=lambda shape: shape.area)
    left, bottom, right, top = cross.bounds
    assert (left - METRE.c, METRE.f - top, right - METRE.c, METRE.f - bottom) == pytest.approx((5, 20, 255, 280))
    assert max(columns["score"]) == pytest.approx(250 / 255, abs=1e-3)


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        (UTM, Affine(0.5, 0, 5e5, 0, 0.5, 5.7e6)),  # south up
        (UTM, METRE @ Affine.rotation(30)),
        ("EPSG:4326", Affine(1e-5, 0, 5.0, 0, -1e-5, 52.0)),
        (NO_CODE, Affine(2.0, 0, 0, 0, -2.0, 0)),
    ],
    ids=["south-up", "rotated", "geographic", "no-code"],
)
def test_every_kind_of_place(segment: Segment, write_scene: WriteScene, crs: str, transform: Affine) -> None:
    values = np.zeros((60, 80), np.uint8)
    values[10:30, 20:50] = 255
    path = write_scene(values, crs=crs, transform=transform)
    (found,) = segment(path, tile=32)
    with rasterio.open(path) as scene, rasterio.open(found.mask) as mask:
        assert mask.crs == scene.crs
        assert mask.transform.almost_equals(scene.transform)
        np.testing.assert_array_equal(mask.read(1), values)
    about, columns, (shape,) = features(found.vectors)
    assert pyproj.CRS.from_user_input(about["crs"]).equals(pyproj.CRS.from_user_input(crs), ignore_axis_order=True)
    corners = shapely.Polygon([transform @ corner for corner in ((20, 10), (50, 10), (50, 30), (20, 30))])
    assert shape.symmetric_difference(corners).area < 0.01 * corners.area
    assert shape.exterior.is_ccw
    to_degrees = pyproj.Transformer.from_crs(crs, 4326, always_xy=True)
    there = shapely.transform(corners, lambda xy: np.stack(to_degrees.transform(*xy.T), -1))
    area, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(there)
    assert columns["area_m2"][0] == pytest.approx(abs(area), rel=1e-3)


@pytest.mark.parametrize(
    ("crs", "transform", "said"),
    [(None, None, "has no CRS: polygons are in pixels"), (None, METRE, "own transform"), (LOCAL, METRE, "no known")],
)
def test_scenes_that_nobody_can_place_on_the_ground(
    segment: Segment, write_scene: WriteScene, crs: str | None, transform: Affine | None, said: str
) -> None:
    values = np.zeros((60, 80), np.uint8)
    values[10:30, 20:50] = 255
    path, lines = write_scene(values, crs=crs, transform=transform), []
    (found,) = segment(path, tile=32, say=lines.append)
    assert said in " ".join(lines)
    _, columns, (shape,) = features(found.vectors)
    assert np.isnan(columns["area_m2"][0])
    assert (found.area_m2, found.pixels) == (None, 600)
    expected = (transform or Affine.identity()) @ (20, 10), (transform or Affine.identity()) @ (50, 30)
    (x0, y0), (x1, y1) = expected
    assert shape.bounds == pytest.approx((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)))
    with rasterio.open(found.mask) as mask:
        assert mask.transform == (transform or Affine.identity())
    with pytest.raises(UserError, match="--min-area"):
        segment(path, min_area=5.0)


@pytest.mark.parametrize("kind", ["geojson", "fgb", "parquet"])
def test_other_formats_hold_the_same(segment: Segment, write_scene: WriteScene, tmp_path: Path, kind: str) -> None:
    path = write_scene(blobs(70, 90, grain=12))
    (reference,) = segment(path, tile=64)
    (found,) = segment(path, tile=64, format=kind, out=tmp_path / kind)
    assert found.vectors.suffix == f".{kind}"
    _, expected, outlines = features(reference.vectors)
    if kind == "parquet":
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(found.vectors)
        geo = json.loads(table.schema.metadata[b"geo"])
        assert geo["columns"]["geometry"]["crs"]["id"] == {"authority": "EPSG", "code": 32631}
        assert table.schema.metadata[b"MODEL"] == b"pixels"
        columns = table.to_pydict()
        shapes = list(shapely.from_wkb(columns.pop("geometry")))
    else:
        about, columns, shapes = features(found.vectors)
        assert pyproj.CRS.from_user_input(about["crs"]).to_epsg() == (4326 if kind == "geojson" else 32631)
    assert list(columns) == FIELDS
    if kind == "geojson":
        assert json.loads(found.vectors.read_text())["run"]["MODEL"] == "pixels"
        back = pyproj.Transformer.from_crs(4326, UTM, always_xy=True)
        shapes = [shapely.transform(shape, lambda xy: np.stack(back.transform(*xy.T), -1)) for shape in shapes]
    order = np.argsort(columns["instance"])  # FlatGeobuf sorts by place
    assert [columns["area_m2"][k] for k in order] == pytest.approx(expected["area_m2"])
    for k, outline in zip(order, outlines, strict=True):
        assert shapes[k].symmetric_difference(outline).area < 0.01 * outline.area


@pytest.mark.parametrize("kind", ["gpkg", "geojson", "fgb", "parquet"])
def test_nothing_found_is_an_empty_layer(segment: Segment, write_scene: WriteScene, tmp_path: Path, kind: str) -> None:
    (found,) = segment(write_scene(np.zeros((40, 40), np.uint8)), format=kind)
    assert found.objects == 0
    if kind == "parquet":
        import pyarrow.parquet

        assert pyarrow.parquet.read_table(found.vectors).num_rows == 0
    else:
        assert not features(found.vectors)[2]


def test_every_output_says_how_it_was_made(segment: Segment, write_scene: WriteScene) -> None:
    path = write_scene(blobs(50, 60).astype(np.uint16) * 9)
    (found,) = segment(
        path, "all ships", tile=40, gsd=1.5, probability=True, instances=True, scene={"stretch": (0.0, 2295.0)}
    )
    expected = {
        "PHRASE": "all ships",
        "MODEL": "pixels",
        "WEIGHTS_SHA256": "unknown",
        "THRESHOLD": "0.5",
        "STRETCH": "0,2295; 0,2295; 0,2295",
        "STRATEGY": "tile",
        "TILE": "40",
        "OVERLAP": "0.25",
        "SCORE": "0.9000",
        "REFERSAT": __version__,
    }
    for output in (found.mask, found.probability, found.instances):
        with rasterio.open(output) as dataset:
            tags = dataset.tags()
        assert expected.items() <= tags.items()
        assert float(tags["GSD"].split()[0]) == pytest.approx(1.5, rel=0.02)
    metadata = pyogrio.read_info(found.vectors)["layer_metadata"]
    assert metadata["PHRASE_1"] == "all ships"
    assert metadata["WEIGHTS_SHA256"] == "unknown"


def test_what_has_no_data_is_masked_and_not_merely_zero(segment: Segment, write_scene: WriteScene) -> None:
    values = np.full((60, 80), 200, np.uint8)
    values[:, 30:] = 0
    path = write_scene(values, nodata=0)
    for threshold in (0.5, 0.0):
        (found,) = segment(path, tile=32, threshold=threshold, probability=True)
        for output in (found.mask, found.probability):
            with rasterio.open(output) as dataset:
                np.testing.assert_array_equal(dataset.read_masks(1) > 0, values > 0)
                assert not dataset.read(1)[:, 30:].any()
        assert set(np.unique(read(found.mask))) == {0, 255}


def test_an_area_of_interest_in_another_crs(segment: Segment, write_scene: WriteScene, tmp_path: Path) -> None:
    path = write_scene(np.full((100, 120), 255, np.uint8))
    to_degrees = pyproj.Transformer.from_crs(UTM, 4326, always_xy=True).transform
    corners = [to_degrees(*(METRE @ corner)) for corner in ((20, 30), (70, 30), (70, 80), (20, 80))]
    aoi = tmp_path / "aoi.geojson"
    aoi.write_text(json.dumps(shapely.geometry.mapping(shapely.Polygon(corners))))
    (found,) = segment(path, tile=32, scene={"aoi": aoi})
    expected = np.zeros((100, 120), bool)
    expected[30:80, 20:70] = True
    with rasterio.open(found.mask) as mask:
        assert mask.shape == (100, 120)
        assert ((mask.read(1) > 0) != expected).sum() <= 4
        assert ((mask.read_masks(1) > 0) != expected).sum() <= 4
    assert features(found.vectors)[2][0].area == pytest.approx(2500, rel=0.01)
    (tmp_path / "points.geojson").write_text('{"type": "Point", "coordinates": [3.0, 51.4]}')
    with pytest.raises(UserError, match="no polygon"):
        Scene(path, aoi=tmp_path / "points.geojson")
    (tmp_path / "text.geojson").write_text("nothing")
    with pytest.raises(UserError, match="not a file of polygons"):
        Scene(path, aoi=tmp_path / "text.geojson")


def test_small_objects_are_left_out_and_instances_match_the_polygons(segment: Segment, write_scene: WriteScene) -> None:
    values = np.zeros((300, 60), np.uint8)
    values[5:25, 5:25] = values[200:290, 10:20] = 255
    values[40, 40] = values[100:102, 50] = 255
    (found,) = segment(write_scene(values), tile=48, min_area=10.0, instances=True)
    numbers = read(found.instances)
    assert numbers.dtype == np.uint32
    assert (np.count_nonzero(numbers == 1), np.count_nonzero(numbers == 2)) == (400, 900)
    np.testing.assert_array_equal(read(found.mask) > 0, numbers > 0)
    assert not numbers[40, 40]
    _, columns, shapes = features(found.vectors)
    assert columns["instance"] == [1, 2]
    painted = rasterize(zip(shapes, columns["instance"], strict=True), numbers.shape, transform=METRE)
    assert (painted == numbers).mean() > 0.999


def test_a_scene_is_never_overwritten(segment: Segment, write_scene: WriteScene) -> None:
    path = write_scene(blobs(20, 20), "scene.tif")
    real = path.rename(path.with_name("scene-1.tif"))
    path.symlink_to(real)
    with pytest.raises(UserError, match="overwrite the scene"):
        segment(path, out=path.parent)


@pytest.mark.parametrize(
    "options",
    [
        {"strategy": "guess"},
        {"format": "shp"},
        {"tile": 1},
        {"overlap": 0.95},
        {"overlap": float("nan")},
        {"gsd": 0.0},
        {"min_area": -1.0},
        {"threshold": 2.0},
        {"batch_size": 0},
    ],
)
def test_options_that_make_no_sense(segment: Segment, write_scene: WriteScene, options: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        segment(write_scene(blobs(20, 20)), **options)


def test_phrases_that_make_no_sense(segment: Segment, write_scene: WriteScene, tmp_path: Path) -> None:
    path = write_scene(blobs(20, 20))
    with pytest.raises(UserError, match="phrase"):
        segment(path, " ")
    with Scene(path) as scene, pytest.raises(UserError, match="list"):
        scene.segment("all", tmp_path / "out", segmenter=PixelModel())
    assert not (tmp_path / "out").exists()
