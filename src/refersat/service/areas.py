"""Areas of interest, as GeoJSON geometries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import rasterio.features
import shapely
from affine import Affine

from refersat.imagery import Image
from refersat.scene.area import area_in_pixels
from refersat.scene.reader import SceneReader
from refersat.scene.window import Window
from refersat.service.problems import Problem

_MAX_POINTS = 20_000
_WRONG = "the area is no polygon: send a GeoJSON geometry of type Polygon or MultiPolygon"


def read_geometry(geometry: Any) -> shapely.Polygon | shapely.MultiPolygon:
    """A GeoJSON geometry as a shape.

    Raises:
        Problem: 400, it is no area.
    """
    if not isinstance(geometry, dict) or geometry.get("type") not in ("Polygon", "MultiPolygon"):
        raise Problem(400, _WRONG)
    try:
        shape = shapely.make_valid(shapely.geometry.shape(geometry))
    except (shapely.errors.ShapelyError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
        raise Problem(400, _WRONG) from None
    parts = [part for part in shapely.get_parts(shape) if isinstance(part, (shapely.Polygon, shapely.MultiPolygon))]
    area = shapely.force_2d(shapely.union_all(parts))
    if not isinstance(area, (shapely.Polygon, shapely.MultiPolygon)) or area.is_empty:
        raise Problem(400, _WRONG)
    if not np.isfinite(shapely.get_coordinates(area)).all():
        raise Problem(400, "the area has coordinates that are no numbers")
    if shapely.get_num_coordinates(area) > _MAX_POINTS:
        raise Problem(400, f"the area has more than {_MAX_POINTS:,} points: simplify it")
    return area


def limit_reader(reader: SceneReader, geometry: Any, *, in_degrees: bool) -> None:
    """Let only an area of a scene count.

    Args:
        reader: the scene's.
        geometry: a GeoJSON geometry.
        in_degrees: whether it is in longitude and latitude; else in pixels.

    Raises:
        Problem: it is no area.
        UserError: it lies elsewhere.
    """
    area = read_geometry(geometry)
    reader.limit_to(area_in_pixels(area, "OGC:CRS84", "the area", reader) if in_degrees else area)


def cut_image(image: Image, area: shapely.Polygon | shapely.MultiPolygon, window: Window) -> Image:
    """What an image shows in a window in whole pixels; only pixels in the area (in pixels of the image) count."""
    rows, columns = window_slices(window)
    rgb = image.rgb[rows, columns]
    shift = Affine.translation(window.x, window.y)
    valid = rasterio.features.geometry_mask([area], rgb.shape[:2], shift, invert=True)
    if image.valid is not None:
        valid &= image.valid[rows, columns]
    transform = None if image.transform is None else image.transform @ shift
    return replace(image, rgb=np.ascontiguousarray(rgb), valid=valid, transform=transform)


def window_slices(window: Window) -> tuple[slice, slice]:
    """Rows and columns of a window in whole pixels."""
    return (
        slice(int(window.y), int(window.y + window.height)),
        slice(int(window.x), int(window.x + window.width)),
    )
