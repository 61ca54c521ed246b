"""Areas of interest in the files that people have: collections, several layers, lines beside areas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio.raw
import pyproj
import pytest
import shapely
import shapely.affinity

from refersat.scene.area import read_area
from refersat.scene.reader import SceneReader
from tests.scene.scenes import METRE, UTM

WriteScene = Callable[..., Path]


@pytest.fixture
def scene(write_scene: WriteScene) -> Path:
    return write_scene(np.full((100, 120), 255, np.uint8))


def on_the_ground(*shapes: shapely.Geometry) -> list[shapely.Geometry]:
    """Shapes in pixels as ones in UTM."""
    return [shapely.affinity.affine_transform(one, METRE.to_shapely()) for one in shapes]


def write_layer(path: Path, shapes: list[shapely.Geometry], crs: str = UTM, **words: Any) -> None:
    geometry = np.array(shapely.to_wkb(shapes), dtype=object)
    kind = "Unknown" if len({one.geom_type for one in shapes}) > 1 else shapes[0].geom_type
    pyogrio.raw.write(path, geometry, [], [], crs=crs, geometry_type=kind, **words)


def area(scene: Path, file: Path) -> shapely.Geometry:
    with SceneReader(scene) as reader:
        return read_area(file, reader)


def test_all_layers_count_each_in_its_crs(scene: Path, tmp_path: Path) -> None:
    left, right = on_the_ground(shapely.box(10, 20, 40, 60), shapely.box(60, 20, 90, 60))
    to_degrees = pyproj.Transformer.from_crs(UTM, 4326, always_xy=True).transform
    far = shapely.transform(right, lambda points: np.stack(to_degrees(*points.T), axis=-1))
    file = tmp_path / "two.gpkg"
    write_layer(file, on_the_ground(shapely.LineString([(0, 0), (9, 9)])), layer="paths")
    write_layer(file, [left], layer="first", append=True)
    write_layer(file, [far], "EPSG:4326", layer="second", append=True)
    found = area(scene, file)
    expected = shapely.union_all([shapely.box(10, 20, 40, 60), shapely.box(60, 20, 90, 60)])
    assert shapely.area(shapely.symmetric_difference(found, expected)) < 0.1


@pytest.mark.parametrize("ending", ["gpkg", "geojson"])
def test_areas_in_collections_count(scene: Path, tmp_path: Path, ending: str) -> None:
    inner = shapely.GeometryCollection([shapely.Point(1, 1), shapely.box(10, 20, 40, 60)])
    parts = on_the_ground(shapely.GeometryCollection([inner, shapely.LineString([(0, 0), (5, 5)])]))
    write_layer(tmp_path / f"collection.{ending}", parts)
    found = area(scene, tmp_path / f"collection.{ending}")
    assert shapely.area(shapely.symmetric_difference(found, shapely.box(10, 20, 40, 60))) < 0.1


def test_an_outline_that_crosses_itself_counts_on_both_sides(scene: Path, tmp_path: Path) -> None:
    # With a spike, of which nothing but a line is left.
    crossed = shapely.Polygon([(10, 10), (50, 50), (50, 10), (90, 10), (50, 10), (10, 50)])
    assert not crossed.is_valid
    write_layer(tmp_path / "crossed.gpkg", on_the_ground(crossed))
    found = area(scene, tmp_path / "crossed.gpkg")
    assert isinstance(found, (shapely.Polygon, shapely.MultiPolygon))
    assert found.area == pytest.approx(800)
