"""An area of interest from a file, in pixels of a scene."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    """The union of the polygons in any file that GDAL reads as vectors, of all its layers, in pixels of the scene.

    Args:
        path: GeoJSON, GeoPackage, Shapefile, ...
        reader: the scene; its CRS and transform say where its pixels are.

    Raises:
        UserError: there are no polygons in it, or nobody can say where they lie in the scene.
    """
    import pyogrio.raw
    from pyogrio.errors import DataSourceError

    require_file(path, "file of polygons")
    try:
        layers = [str(name) for name, kind in pyogrio.list_layers(path) if kind is not None]
        contents = [pyogrio.raw.read(path, layer=layer, columns=[]) for layer in layers]
    except (DataSourceError, ValueError) as error:
        reason = str(error).partition(";")[0]
        raise UserError(f"{path} is not a file of polygons that GDAL can read: {reason}") from error
    areas = []
    for about, _, geometry, _ in contents:
        polygons = list(_polygons(shapely.make_valid(shapely.from_wkb(geometry))))
        if polygons:
            areas.append(area_in_pixels(_union(polygons), about["crs"], str(path), reader))
    if not areas:
        raise UserError(f"{path} holds no polygon: --aoi takes an area")
    return _union(areas)


def _polygons(shapes: Iterable[shapely.Geometry | None]) -> Iterator[shapely.Polygon | shapely.MultiPolygon]:
    """Those with an area, out of collections, too."""
    for shape in shapes:
        if isinstance(shape, shapely.GeometryCollection):
            yield from _polygons(shape.geoms)
        elif isinstance(shape, (shapely.Polygon, shapely.MultiPolygon)) and not shape.is_empty:
            yield shape


def _union(shapes: Sequence[shapely.Polygon | shapely.MultiPolygon]) -> shapely.Polygon | shapely.MultiPolygon:
    union = shapely.union_all(shapes)
    assert isinstance(union, (shapely.Polygon, shapely.MultiPolygon))
    return union


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
