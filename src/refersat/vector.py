"""Masks as polygons, on the ground where the image has a place there, as GeoJSON (RFC 7946)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import affine
import numpy as np
import pyproj
import shapely
import shapely.affinity
from numpy.typing import NDArray
from pyproj.exceptions import ProjError
from rasterio.features import shapes
from shapely.geometry.polygon import orient

from refersat.imagery import Image

LONGITUDE_LATITUDE = "EPSG:4326 longitude/latitude"
PIXELS = "pixel: x right, y down, from the top left corner"

_Shape = TypeVar("_Shape", bound=shapely.Geometry)
_DECIMALS = 8  # of a degree: about a millimetre


def mask_polygons(mask: NDArray[np.bool_]) -> list[shapely.Polygon]:
    """The outlines of a mask (H, W) along its pixel edges: valid polygons with holes, disjoint, largest first.

    Coordinates are pixels, x right and y down from the top left corner. Pixels that touch at a corner only belong to
    different polygons, so the areas sum to the number of foreground pixels.
    """
    found = (polygon for _, polygon in labelled_polygons(mask.astype(np.uint8)))
    return sorted((orient(polygon) for polygon in found), key=lambda polygon: -float(polygon.area))


def labelled_polygons(labels: NDArray[np.uint8] | NDArray[np.int32]) -> Iterator[tuple[int, shapely.Polygon]]:
    """Each label but 0 with its outlines, as `mask_polygons` gives them; one per part that is connected by edges."""
    inside = labels != 0
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return
    # Most masks are small or empty, and tracing takes as long for a pixel outside as for one inside.
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    place = affine.Affine.translation(float(columns[0]), float(rows[0]))
    for outline, label in shapes(labels[box], mask=inside[box], connectivity=4, transform=place):
        for part in shapely.get_parts(shapely.make_valid(shapely.geometry.shape(outline))):
            if part.geom_type == "Polygon":
                yield int(label), part


@dataclass(frozen=True)
class Ground:
    """From the pixels of one image to the ground; the identity, in pixels, where the image has no usable place there.

    `area_unit` is "m2" or "px"; `area_method` says how areas are found.
    """

    coordinate_system: str = PIXELS
    area_unit: str = "px"
    area_method: str = "number of pixels"
    _pixel_to_crs: affine.Affine = affine.identity
    _crs_to_degrees: pyproj.Transformer | None = None

    @classmethod
    def of(cls, image: Image) -> Ground:
        """The ground of an image; see `at`."""
        return cls.at(image.crs_wkt, image.transform, width=image.width, height=image.height)

    @classmethod
    def at(cls, crs_wkt: str | None, transform: affine.Affine | None, *, width: int, height: int) -> Ground:
        """The ground of a grid of pixels: lon/lat and m2 with a geographic or projected CRS, else pixels."""
        if crs_wkt is None or transform is None:
            return cls()
        try:
            crs = pyproj.CRS.from_wkt(crs_wkt)
            to_degrees = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        except ProjError:  # a local grid: nobody can say where on the ground it lies
            return cls()
        if not (crs.is_geographic or crs.is_projected):
            return cls()
        ground = cls(LONGITUDE_LATITUDE, "m2", "geodesic on the WGS 84 ellipsoid", transform, to_degrees)
        frame = shapely.box(0, 0, width, height)
        return ground if np.isfinite(shapely.get_coordinates(ground._degrees(frame))).all() else cls()

    def place(self, polygon: shapely.Polygon) -> shapely.Polygon | shapely.MultiPolygon:
        """A polygon in pixels as longitude and latitude, exterior counter-clockwise; unchanged without a ground.

        At the antimeridian it is cut in two, as RFC 7946 wants it.
        """
        if self._crs_to_degrees is None:
            return polygon
        degrees = self._degrees(polygon)
        west, _, east, _ = degrees.bounds
        if west < -180 or east > 180 or east - west > 180:
            return _cut_at_antimeridian(degrees)
        return orient(shapely.transform(degrees, _rounded))

    def area(self, polygon: shapely.Polygon) -> float:
        """Area of a polygon in pixels, in `area_unit`."""
        if self._crs_to_degrees is None:
            return float(polygon.area)
        # Not in the plane of the CRS: Mercator's square metres are a quarter too large at 27 degrees of latitude.
        area, _ = pyproj.Geod(ellps="WGS84").geometry_area_perimeter(orient(self._degrees(polygon)))
        return abs(float(area))

    def metres_per_pixel(self, x: float, y: float) -> tuple[float, float] | None:
        """How far one pixel reaches on the ground, along a row and down a column, at a place in pixels."""
        if self._crs_to_degrees is None:
            return None
        corner = shapely.LineString([(x, y), (x + 1, y), (x, y), (x, y + 1)])
        longitudes, latitudes = shapely.get_coordinates(self._degrees(corner)).T
        across, _, down = pyproj.Geod(ellps="WGS84").line_lengths(longitudes, latitudes)
        return float(across), float(down)

    def _degrees(self, shape: _Shape) -> _Shape:
        assert self._crs_to_degrees is not None
        place = self._crs_to_degrees.transform
        a, b, c, d, e, f = self._pixel_to_crs[:6]

        def to_degrees(points: NDArray[np.float64]) -> NDArray[np.float64]:
            x, y = points.T
            return np.stack(place(a * x + b * y + c, d * x + e * y + f), axis=-1)

        return shapely.transform(shape, to_degrees)


def _cut_at_antimeridian(degrees: shapely.Polygon) -> shapely.Polygon | shapely.MultiPolygon:
    """A polygon that crosses 180 degrees, or is given beyond them, within -180 to 180."""
    eastward = shapely.transform(degrees, lambda points: np.stack([points[:, 0] % 360, points[:, 1]], axis=-1))
    west = shapely.intersection(eastward, shapely.box(0, -90, 180, 90))
    east = shapely.intersection(eastward, shapely.box(180, -90, 360, 90))
    halves = west, shapely.affinity.translate(east, -360)
    parts = [
        orient(part)
        for half in halves
        for part in shapely.get_parts(shapely.transform(half, _rounded))
        if isinstance(part, shapely.Polygon) and not part.is_empty
    ]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _rounded(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round(points, _DECIMALS)


def polygon_features(
    polygons: Iterable[shapely.Polygon], ground: Ground, properties: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One GeoJSON feature per polygon (in pixels), with its area and unit beside the given properties."""
    return [
        {
            "type": "Feature",
            "properties": {**properties, "area": round(ground.area(polygon), 2), "area_unit": ground.area_unit},
            "geometry": shapely.geometry.mapping(ground.place(polygon)),
        }
        for polygon in polygons
    ]


def feature_collection(features: list[dict[str, Any]], ground: Ground) -> bytes:
    """A GeoJSON file. The members `coordinate_system` and `area_method` say what its numbers are.

    (RFC 7946 section 7.1 keeps a member called "coordinates" out of a feature collection.)
    """
    collection = {
        "type": "FeatureCollection",
        "coordinate_system": ground.coordinate_system,
        "area_method": ground.area_method,
        "features": features,
    }
    return (json.dumps(collection, ensure_ascii=False) + "\n").encode()
