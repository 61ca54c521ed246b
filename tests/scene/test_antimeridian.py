"""Objects at 180 degrees of longitude: no polygon goes around the world, and GeoJSON is cut there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from affine import Affine

FIJI = -17.8


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32760", Affine(1.0, 0, 818_015, 0, -1.0, 8_029_000)),
        ("EPSG:4326", Affine(1e-5, 0, 179.9995, 0, -1e-5, FIJI)),
        ("EPSG:4326", Affine(1e-5, 0, -180.0005, 0, -1e-5, FIJI)),
    ],
    ids=["UTM", "beyond 180", "beyond -180"],
)
def test_objects_lie_on_both_sides(
    write_scene: Callable[..., Path], segment: Callable[..., Any], crs: str, transform: Affine
) -> None:
    values = np.zeros((60, 100), np.uint8)
    values[10:20, 5:15] = values[10:20, 85:95] = values[30:50, 10:90] = 255
    (found,) = segment(write_scene(values, crs=crs, transform=transform), tile=64, format="geojson")
    shapes = [shapely.geometry.shape(one["geometry"]) for one in json.loads(found.vectors.read_text())["features"]]
    both, west, east = sorted(shapes, key=lambda shape: (shape.geom_type, -shape.bounds[0]))
    assert west.bounds[0] > 179.99
    assert east.bounds[2] < -179.99
    assert both.geom_type == "MultiPolygon"
    assert [part.bounds[0] > 0 for part in both.geoms] == [True, False]
    assert (both.bounds[0], both.bounds[2]) == (-180, 180)
    for shape in shapes:
        assert shape.is_valid
        assert all(part.exterior.is_ccw for part in shapely.get_parts(shape))
        assert sum(part.bounds[2] - part.bounds[0] for part in shapely.get_parts(shape)) < 0.001
