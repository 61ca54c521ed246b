"""Scenes and probabilities as pictures: map tiles by rio-tiler, and whole images for what has no place on a map."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Generic, TypeVar

import numpy as np
import PIL.Image
import rasterio.warp
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rio_tiler.errors import TileOutsideBounds
from rio_tiler.io import Reader

from refersat.errors import UserError
from refersat.imagery import read_image
from refersat.radiometry import Radiometry
from refersat.rasters import open_raster
from refersat.scene.reader import SceneReader
from refersat.scene.window import Window
from refersat.service.catalog import Entry, require_file
from refersat.service.problems import Problem
from refersat.vector import Ground

_T = TypeVar("_T")

TILE = 256
_MERCATOR_LATITUDE = 85.05  # web maps end there
_EQUATOR_METRES_PER_PIXEL = 40_075_016.686 / TILE  # at zoom 0
_MAX_ZOOM = 24
_KEPT = 256
_FASTER = 1  # PNG's compression: smaller files take ten times as long


@dataclass(frozen=True)
class Facts:
    """What the header of an image says.

    Attributes:
        width, height: in pixels.
        bands: how many.
        dtype: of their values.
        crs: in words; None where it has none.
        gsd: metres per pixel; None where nobody can know.
        bounds: west, south, east, north in degrees; None for what no web map can show.
        zooms: the coarsest and the finest useful zoom of its tiles.
    """

    width: int
    height: int
    bands: int
    dtype: str
    crs: str | None
    gsd: float | None
    bounds: tuple[float, float, float, float] | None
    zooms: tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class _Look:
    """How to show a scene: what rio-tiler opens, which bands of it, and what becomes of their values."""

    address: str
    drivers: tuple[str, ...] | None
    bands: tuple[int, ...]
    radiometry: Radiometry


class Display:
    """Makes pictures; remembers what it knows about files until they change."""

    def __init__(self) -> None:
        self._facts: _Memory[Facts] = _Memory()
        self._looks: _Memory[_Look] = _Memory()

    def facts(self, entry: Entry) -> Facts:
        """What the header says.

        Raises:
            Problem: 404 it is gone, 400 it cannot be read.
        """
        require_file(entry)
        return self._facts.get(entry.version, lambda: _read_facts(entry))

    def tile(self, entry: Entry, z: int, x: int, y: int) -> bytes:
        """A map tile (PNG with alpha); transparent outside of the scene.

        Raises:
            Problem: 404, the scene has no place on a map.
        """
        if self.facts(entry).bounds is None:
            raise Problem(404, f"{entry.name} has no place on a map: show its picture")
        look = self._look(entry)
        smooth = look.radiometry.palette is None
        found = _warped(look.address, z, x, y, look.bands, smooth=smooth, drivers=look.drivers)
        if found is None:
            return EMPTY_TILE
        values, inside = found
        rgb = look.radiometry.rgb(values)
        return png(np.dstack([rgb, (inside > 0) * np.uint8(255)]))  # what counts at all is seen

    def picture(self, entry: Entry, side: int | None, most_pixels: int) -> bytes:
        """All of an image (PNG), reduced to `side` and to `most_pixels` where it is larger."""
        facts = self.facts(entry)
        size = reduced(facts.width, facts.height, side, most_pixels)
        try:
            rgb, valid = _all_of(entry, size)
        except UserError as error:
            raise Problem(400, without_path(str(error), entry)) from error
        return png(rgb if valid.all() else np.dstack([rgb, valid * np.uint8(255)]))

    def pixels(self, entry: Entry, size: tuple[int, int]) -> NDArray[np.uint8]:
        """All of an image (h, w, 3) at a size (w, h).

        Raises:
            Problem: 404 it is gone, 400 it cannot be read.
        """
        require_file(entry)
        try:
            return _all_of(entry, size)[0]
        except UserError as error:
            raise Problem(400, without_path(str(error), entry)) from error

    def _look(self, entry: Entry) -> _Look:
        return self._looks.get(entry.version, lambda: _read_look(entry))


class _Memory(Generic[_T]):
    """The last things that were found out; any thread may use it."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, _T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, find: Callable[[], _T]) -> _T:
        """What is known, or else is found."""
        with self._lock:
            if key in self._known:
                self._known.move_to_end(key)
                return self._known[key]
        found = find()
        with self._lock:
            self._known[key] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found


def _read_facts(entry: Entry) -> Facts:
    try:
        dataset, placed = open_raster(entry.address, entry.drivers)
    except RasterioError as error:
        raise Problem(400, f"{entry.name} is no raster that can be read") from error
    with dataset:
        if not dataset.count:
            raise Problem(400, f"{entry.name} holds several rasters and none by itself")
        width, height = int(dataset.width), int(dataset.height)
        crs = dataset.crs if placed else None
        ground = Ground.at(crs.wkt if crs else None, dataset.transform if placed else None, width=width, height=height)
        sides = ground.metres_per_pixel(width / 2, height / 2)
        bounds = _degrees(dataset) if ground.area_unit == "m2" else None
        gsd = None if sides is None else sum(sides) / 2
        zooms = None if bounds is None or gsd is None else _zooms(bounds, gsd, max(width, height))
        if zooms is None:
            bounds = None
        return Facts(width, height, dataset.count, dataset.dtypes[0], _in_words(crs), gsd, bounds, zooms)


def _read_look(entry: Entry) -> _Look:
    try:
        with SceneReader(entry.address, name=entry.name, drivers=entry.drivers) as reader:
            address, bands, drivers = entry.address, reader.bands, entry.drivers
            if reader.false_alpha and not entry.remote:  # GDAL would hide by it, and blend by it
                kinds = f"&if={','.join(drivers)}" if drivers else ""
                address, drivers = f"vrt://{address}?bands={','.join(map(str, bands))}{kinds}", None
                bands = tuple(range(1, len(bands) + 1))
            return _Look(address, drivers, bands, reader.radiometry)
    except UserError as error:
        raise Problem(400, without_path(str(error), entry)) from error


def _degrees(dataset: Any) -> tuple[float, float, float, float] | None:
    try:
        bounds = rasterio.warp.transform_bounds(dataset.crs, "EPSG:4326", *dataset.bounds)
    except RasterioError:
        return None
    west, south, east, north = (float(value) for value in bounds)
    shown = all(math.isfinite(value) for value in bounds) and west < east and south < north
    inside = max(-south, north) <= _MERCATOR_LATITUDE and max(-west, east) <= 180
    return (west, south, east, north) if shown and inside else None


def _zooms(bounds: tuple[float, float, float, float], gsd: float, side: int) -> tuple[int, int]:
    latitude = math.radians((bounds[1] + bounds[3]) / 2)
    finest = math.ceil(math.log2(_EQUATOR_METRES_PER_PIXEL * math.cos(latitude) / gsd))
    finest = min(max(finest, 0), _MAX_ZOOM)
    return max(0, finest - math.ceil(math.log2(max(side / TILE, 1)))), finest


def _in_words(crs: Any) -> str | None:
    if not crs:
        return None
    import pyproj

    known = pyproj.CRS.from_wkt(crs.wkt)
    authority = known.to_authority()
    return " ".join([*([":".join(authority)] if authority else []), known.name])


def _warped(
    address: str,
    z: int,
    x: int,
    y: int,
    bands: tuple[int, ...],
    *,
    smooth: bool,
    drivers: Sequence[str] | None = ("GTiff",),
) -> tuple[NDArray[Any], NDArray[np.uint8]] | None:
    """Values (C, 256, 256) of a tile, and where there are some (above 0); None outside of the raster."""
    method: Any = "bilinear" if smooth else "nearest"
    try:
        with open_raster(address, drivers)[0] as dataset, Reader(address, dataset=dataset) as reader:
            found = reader.tile(
                x, y, z, tilesize=TILE, indexes=bands, resampling_method=method, reproject_method=method
            )
    except TileOutsideBounds:
        return None
    except RasterioError as error:
        raise Problem(400, "the image is damaged: its pixels cannot be read") from error
    return found.array.data, np.asarray(found.mask, dtype=np.uint8)


def grey_tile(address: str, z: int, x: int, y: int) -> bytes:
    """A map tile (PNG, grey with alpha) of a raster with one 8-bit band."""
    found = _warped(address, z, x, y, (1,), smooth=True)
    if found is None:
        return EMPTY_TILE
    values, inside = found
    return png(np.dstack([values[0] * (inside > 0), inside]))


def _all_of(entry: Entry, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Pixels (h, w, 3) of a whole image at a size (w, h), and which count."""
    try:
        with SceneReader(entry.address, drivers=entry.drivers) as reader:
            patch = reader.read(Window(0, 0, reader.width, reader.height), (size[1], size[0]))
            return patch.pixels, patch.valid
    except UserError:  # what has only ground control points is no scene, but an image
        image = read_image(entry.address)
    picture = PIL.Image.fromarray(image.rgb).resize(size, PIL.Image.Resampling.BOX, reducing_gap=2)
    return np.asarray(picture), np.ones((size[1], size[0]), np.bool_)


def reduced(width: int, height: int, side: int | None, most_pixels: int) -> tuple[int, int]:
    """Width and height with the same proportions, the longer at most `side`, and at most `most_pixels` of both."""
    scale = min(1.0, (side or math.inf) / max(width, height), (most_pixels / (width * height)) ** 0.5)
    return max(1, round(width * scale)), max(1, round(height * scale))


def png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels (h, w), (h, w, 2), (h, w, 3) or (h, w, 4) as a PNG."""
    stream = BytesIO()
    PIL.Image.fromarray(pixels).save(stream, "PNG", compress_level=_FASTER)
    return stream.getvalue()


def without_path(message: str, entry: Entry) -> str:
    """A message that says how an image is called instead of where it lies."""
    return message.replace(entry.address, entry.name)


EMPTY_TILE = png(np.zeros((TILE, TILE, 4), np.uint8))
"""Fully transparent."""
