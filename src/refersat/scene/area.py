"""An area of interest from a file, in pixels of a scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from refersat.errors import UserError
from refersat.imagery import require_file
from refersat.scene.reader import SceneReader

_STEP = 64.0  # pixels between points of an edge: a straight edge in one CRS is a curve in another


def read_area(path: Path, reader: SceneReader) -> shapely.Polygon | shapely.MultiPolygon:
    """The union of the polygons in any file that GDAL reads as vectors, in pixels of the scene.

    Args:
        path: GeoJSON, GeoPackage, Shapefile, ...
        reader: the scene; its CRS and transform say where its pixels are.

    Raises:
        UserError: there are no polygons in it, or nobody can say where they lie in the scene.
    """
    import pyogrio.raw
    from pyogrio.errors import DataSourceError

    require_file(path)
    try:
        about, _, geometry, _ = pyogrio.raw.read(path, columns=[])
    except (DataSourceError, ValueError) as error:
        raise UserError(f"{path} is not a file of polygons that GDAL can read: {error}") from error
    shapes = shapely.from_wkb(geometry)
    polygons = [shape for shape in shapes if isinstance(shape, (shapely.Polygon, shapely.MultiPolygon))]
    area = shapely.union_all([shapely.make_valid(polygon) for polygon in polygons])
    if not isinstance(area, (shapely.Polygon, shapely.MultiPolygon)) or area.is_empty:
        raise UserError(f"{path} holds no polygon: --aoi takes an area")
    return area_in_pixels(area, about["crs"], str(path), reader)


def area_in_pixels(
    area: shapely.Polygon | shapely.MultiPolygon, crs: str | None, name: str, reader: SceneReader
) -> shapely.Polygon | shapely.MultiPolygon:
    """An area in a CRS, in pixels of a scene; `name` is what messages call it.

    Raises:
        UserError: nobody can say where it lies in the scene.
    """
    to_pixels = ~reader.transform
    a, b, c, d, e, f = to_pixels[:6]

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points.T
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)

    if crs is None or reader.crs_wkt is None:
        if crs is not None and reader.placed:
            raise UserError(f"{reader.name} has no CRS, so nobody can say where {name} lies in it: assign one")
        return shapely.transform(area, place)
    there, here = pyproj.CRS.from_user_input(crs), pyproj.CRS.from_wkt(reader.crs_wkt)
    if there == here:
        return shapely.transform(area, place)
    move = pyproj.Transformer.from_crs(there, here, always_xy=True).transform

    def project(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points.T
        return place(np.stack(move(x, y), axis=-1))

    rough = shapely.transform(area, project)
    if not np.isfinite(shapely.get_coordinates(rough)).all():
        raise UserError(f"{name} lies where the CRS of {reader.name} does not reach")
    pixel = (area.length / rough.length) if rough.length else 1.0
    return shapely.transform(shapely.segmentize(area, _STEP * pixel), project)
