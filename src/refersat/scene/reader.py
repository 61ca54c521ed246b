"""A scene's pixels, window by window, at any resolution, through one radiometry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any

import affine
import numpy as np
import rasterio
import rasterio.features
import rasterio.windows
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.env import setenv
from rasterio.errors import RasterioError

from refersat.errors import UserError
from refersat.imagery import Image, require_whole
from refersat.radiometry import Radiometry, Stretch
from refersat.rasters import alpha_band, chosen_bands, is_mask, may_have_holes, open_raster, radiometry_of
from refersat.scene.collar import find_collar
from refersat.scene.sample import sample_windows
from refersat.scene.source import find_source
from refersat.scene.window import Window
from refersat.vector import Ground

if TYPE_CHECKING:
    import shapely

_CACHE = 32 * 2**20, 256 * 2**20  # bytes, least and most, for blocks that neighbouring windows share
_CACHED_ROWS = 2048  # of the scene: those of a row of tiles, in whole blocks
_AVERAGE_FROM = 2.0  # native pixels per pixel read; below, GDAL's (then widened) bilinear kernel is smoother


@dataclass(frozen=True, eq=False)
class Patch:
    """What a window of a scene shows.

    `pixels` is uint8 (h, w, 3), 0 where there is no data; `valid` is bool (h, w), True where the scene has data and,
    with an area of interest, within it. Where nothing is valid, pixels are not read at all but 0.
    """

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    def image(self) -> Image:
        """For a model: without data it sees the mean colour of what counts, as a black edge looks like a thing."""
        if self.valid.all():
            return Image(rgb=self.pixels)
        void = ~self.valid & ~self.pixels.any(axis=2)
        rgb = self.pixels
        if void.any() and self.valid.any():
            rgb = rgb.copy()
            rgb[void] = np.rint(self.pixels[self.valid].mean(axis=0))
        return Image(rgb=rgb, valid=self.valid)


class SceneReader:
    """One raster, open for reading as RGB uint8; a context manager.

    Args:
        scene: see `refersat.scene.source.find_source`.
        bands: one or three band numbers from 1; those that the file calls red, green and blue when None.
        stretch: from values to 8 bits; the same everywhere in the scene.
        nodata: a pixel with this value in all of the bands holds no data, whatever the file says.
        asset: which asset of a STAC item.
        name: what messages and outputs call it; its address when None.
        drivers: GDAL's, one of which must read it; any when None.

    Attributes:
        width, height: of the scene, in pixels.
        crs_wkt: None where the scene has none.
        transform: from pixels to the CRS; the identity where the scene has no place.
        placed: whether it has a place: a transform of its own.
        gsd: metres per pixel along a row and down a column, at the centre; None where nobody can know.
        area: where to look, in pixels; None for everywhere. Set it with `limit_to`.
        collar: what seems to be a border without data that the file does not mark; None without one.

    Raises:
        UserError: there is no such scene, it cannot be read, or it has only ground control points or RPCs.
    """

    def __init__(
        self,
        scene: str | Path,
        *,
        bands: Sequence[int] | None = None,
        stretch: Stretch = None,
        nodata: float | None = None,
        asset: str | None = None,
        name: str | None = None,
        drivers: Sequence[str] | None = None,
    ) -> None:
        self.nodata = nodata
        self.source = find_source(scene, asset=asset)
        self.name = name or self.source.address
        self._lock = Lock()
        self._environment: Any = rasterio.Env(GDAL_CACHEMAX=_CACHE[0])
        self._environment.__enter__()
        try:
            self._dataset, self.placed = self._open(drivers)
            self._require_place()
            self.width, self.height = int(self._dataset.width), int(self._dataset.height)
            self.crs_wkt: str | None = self._dataset.crs.wkt if self._dataset.crs and self.placed else None
            self.transform: affine.Affine = self._dataset.transform if self.placed else affine.identity
            self.ground = Ground.at(self.crs_wkt, self.transform, width=self.width, height=self.height)
            self.gsd = self.ground.metres_per_pixel(self.width / 2, self.height / 2)
            self.area: shapely.Polygon | shapely.MultiPolygon | None = None
            self.bands = tuple(chosen_bands(self._dataset, self.name, bands))
            self._alpha: int | None = None
            setenv(GDAL_CACHEMAX=self._cache())
            self._holes = may_have_holes(self._dataset, self.bands)
            self.radiometry = self._find_radiometry(stretch)
        except BaseException:
            self.close()
            raise

    def _open(self, drivers: Sequence[str] | None) -> tuple[Any, bool]:
        try:
            dataset, placed = open_raster(self.source.address, drivers)
        except RasterioError as error:
            reason = " ".join(str(error).split()) if self.source.remote else "rasterio cannot read it as a raster"
            raise UserError(f"cannot open {self.name}: {reason}") from error
        if not self.source.remote:
            try:
                require_whole(dataset, Path(self.source.address))
            except (OSError, SyntaxError) as error:
                dataset.close()
                raise UserError(
                    f"{self.name} is damaged or cut short: its pixels cannot be read; copy it again"
                ) from error
        return dataset, placed

    def _require_place(self) -> None:
        if self.placed:
            return
        if self._dataset.gcps[0]:
            raise UserError(
                f"{self.name} has ground control points only: warp it first, for example "
                f"gdalwarp -t_srs EPSG:4326 {self.name} warped.tif"
            )
        if self._dataset.rpcs is not None:
            raise UserError(
                f"{self.name} has rational polynomial coefficients (RPC) only: orthorectify it first, for example "
                f"gdalwarp -rpc -to RPC_DEM=heights.tif -t_srs EPSG:4326 {self.name} ortho.tif"
            )

    def _cache(self) -> int:
        row = self.width * sum(int(np.dtype(self._dataset.dtypes[band - 1]).itemsize) for band in self.bands)
        return min(max(_CACHE[0], row * _CACHED_ROWS), _CACHE[1])

    @property
    def has_holes(self) -> bool:
        """Whether some pixels may not count: no data there, or outside of the area of interest."""
        return self._may_lack_data or self.area is not None

    @property
    def _may_lack_data(self) -> bool:
        return self._holes or self.nodata is not None

    @property
    def false_alpha(self) -> bool:
        """Whether a band is tagged as the alpha of the others that hides nothing: often their near infrared."""
        return self._alpha is None and alpha_band(self._dataset, self.bands) is not None

    @property
    def extent(self) -> Window:
        """Where to look, in whole pixels: the scene, or the bounding box of the area of interest in it."""
        scene = Window(0, 0, self.width, self.height)
        if self.area is None:
            return scene
        left, top, right, bottom = self.area.bounds
        x, y = int(np.floor(left)), int(np.floor(top))
        return scene.cut(Window(x, y, int(np.ceil(right)) - x, int(np.ceil(bottom)) - y)) or Window(0, 0, 0, 0)

    def limit_to(self, area: shapely.Polygon | shapely.MultiPolygon) -> None:
        """Let only pixels count whose centre is inside of a (multi)polygon, given in pixels of the scene.

        Raises:
            UserError: it lies outside of the scene.
        """
        self.area = area
        if not self.extent.width:
            raise UserError(f"the area of interest lies outside of {self.name}")

    def read(self, window: Window, size: tuple[int, int] | None = None) -> Patch:
        """What a window shows.

        Args:
            window: in pixels of the scene; what hangs over its border is black and not valid.
            size: (h, w) to resample it to, from an overview where one is fine enough; the window's own when None.

        Raises:
            UserError: the file is damaged there.
        """
        height, width = size or (round(window.height), round(window.width))
        pixels, valid = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), np.bool_)
        inside = window.cut(Window(0, 0, self.width, self.height))
        if inside is None:
            return Patch(pixels, valid)
        across, down = width / window.width, height / window.height
        rows = _span((inside.y - window.y) * down, inside.height * down, height)
        columns = _span((inside.x - window.x) * across, inside.width * across, width)
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        with self._reading(inside):
            data = self._has_data(inside, shape)
            valid[rows, columns] = self._counts(data, inside)
            if valid.any():
                values = self._values(self.bands, inside, shape, self._resampling(min(across, down)))
                pixels[rows, columns] = self.radiometry.rgb(values) * data[..., None]
        return Patch(pixels, valid)

    def read_valid(self, window: Window) -> NDArray[np.bool_]:
        """Which pixels count (h, w), of a window in whole pixels inside of the scene.

        Raises:
            UserError: the file is damaged there.
        """
        with self._reading(window):
            return self._counts(self._has_data(window, (round(window.height), round(window.width))), window)

    @contextmanager
    def _reading(self, window: Window) -> Iterator[None]:
        """One at a time: GDAL's datasets may pass from thread to thread, but serve only one."""
        with self._lock:
            try:
                yield
            except RasterioError as error:
                raise UserError(
                    f"{self.name} is damaged or cut short: {_where(window)} cannot be read; copy it again"
                ) from error

    def _counts(self, data: NDArray[np.bool_], window: Window) -> NDArray[np.bool_]:
        return data if self.area is None else data & self._in_area(window, data.shape)

    def _values(
        self, bands: Sequence[int], window: Window, shape: tuple[int, int], resampling: Resampling
    ) -> NDArray[Any]:
        values: NDArray[Any] = self._dataset.read(
            list(bands), window=_rasterio_window(window), out_shape=(len(bands), *shape), resampling=resampling
        )
        return values

    def _resampling(self, scale: float) -> Resampling:
        """For `scale` pixels read of each that is stored."""
        if scale == 1.0 or self.radiometry.palette is not None:
            return Resampling.nearest
        return Resampling.average if scale * _AVERAGE_FROM <= 1.0 else Resampling.bilinear

    def _has_data(self, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
        data = self._is_told_to_have_data(window, shape)
        if self.nodata is not None:
            values = self._values(self.bands, window, shape, Resampling.nearest)
            data &= ~(np.isnan(values) if math.isnan(self.nodata) else values == self.nodata).all(axis=0)
        return data

    def _is_told_to_have_data(self, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """As the file says."""
        if not self._holes:
            return np.ones(shape, np.bool_)
        if self._alpha is not None:
            masks = self._values((self._alpha,), window, shape, Resampling.nearest)
        else:
            masks = self._dataset.read_masks(
                list(self.bands), window=_rasterio_window(window), out_shape=(len(self.bands), *shape)
            )
        return np.asarray(masks.any(axis=0), dtype=np.bool_)

    def _in_area(self, window: Window, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        grid = affine.Affine.translation(window.x, window.y) @ affine.Affine.scale(
            window.width / shape[1], window.height / shape[0]
        )
        inside: NDArray[np.bool_] = rasterio.features.geometry_mask([self.area], shape, grid, invert=True)
        return inside

    def _find_radiometry(self, stretch: Stretch) -> Radiometry:
        """The scene's, from a sample of it; sets what stands for its mask, too."""
        try:
            alpha = alpha_band(self._dataset, self.bands)
            # What is far away is not fetched to learn nothing: 8-bit values stay as they are.
            kept = self._dataset.dtypes[self.bands[0] - 1] == "uint8" and stretch != "percentile" and alpha is None
            far = kept and self.source.remote
            windows = [(Window(0, 0, 1, 1), (1, 1))] if far else sample_windows(self._dataset, self.bands[0])
            if alpha is not None:
                self._holes = is_mask(self._sample((alpha,), windows))
                self._alpha = alpha if self._holes else None
            sample = self._sample(self.bands, windows)
            holes = self._may_lack_data
            masks = [self._has_data(window, shape).ravel() for window, shape in windows] if holes else None
        except RasterioError as error:
            raise UserError(f"{self.name} is damaged or cut short: its pixels cannot be read; copy it again") from error
        valid = None if masks is None else np.concatenate(masks)[None]
        self.collar = None if holes else find_collar(sample, self._corners())
        return radiometry_of(self._dataset, self.bands, sample, valid, stretch)

    def _corners(self) -> NDArray[Any]:
        """The values (C, 4) of the scene's corners."""
        right, bottom = self.width - 1, self.height - 1
        places = [Window(x, y, 1, 1) for y in (0, bottom) for x in (0, right)]
        return np.concatenate(
            [self._values(self.bands, place, (1, 1), Resampling.nearest)[:, :, 0] for place in places], axis=1
        )

    def _sample(self, bands: Sequence[int], windows: Sequence[tuple[Window, tuple[int, int]]]) -> NDArray[Any]:
        """Values (C, 1, N)."""
        parts = [self._values(bands, window, shape, Resampling.nearest) for window, shape in windows]
        return np.concatenate([part.reshape(len(bands), 1, -1) for part in parts], axis=2)

    def close(self) -> None:
        """Give the file back."""
        dataset = getattr(self, "_dataset", None)
        if dataset is not None:
            dataset.close()
        if self._environment is not None:
            self._environment.__exit__(None, None, None)
            self._environment = None

    def __enter__(self) -> SceneReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _span(start: float, length: float, size: int) -> slice:
    """Where something lies on an axis of `size` pixels: at least one of them."""
    first = min(round(start), size - 1)
    return slice(first, min(max(round(start + length), first + 1), size))


def _rasterio_window(window: Window) -> rasterio.windows.Window:
    return rasterio.windows.Window(window.x, window.y, window.width, window.height)


def _where(window: Window) -> str:
    return f"{window.width:.0f} x {window.height:.0f} pixels from column {window.x:.0f}, row {window.y:.0f}"
