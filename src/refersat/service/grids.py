"""Masks and probabilities as rasters of a result, and what is made of them at any threshold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import affine
import numpy as np
import rasterio
import rasterio.shutil
import rasterio.windows
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS

from refersat import __version__
from refersat.output import replaced_file
from refersat.rasters import unplaced_is_fine
from refersat.scene.cog import Frame
from refersat.scene.features import Describe
from refersat.scene.objects import Strip, trace_objects
from refersat.scene.parts import BLOCK
from refersat.scene.vectors import Target, feature_file
from refersat.vector import Ground

Rows: TypeAlias = "tuple[int, NDArray[np.uint8], NDArray[np.bool_]]"
"""The first row, values (h, W), and which of them count (h, W)."""

_ROWS = 256


def ground_of(frame: Frame) -> Ground:
    """The ground that a raster lies on."""
    return Ground.at(frame.crs_wkt, frame.transform, width=frame.width, height=frame.height)


def read_strips(mask: Path, probability: Path, threshold: float | None) -> Iterator[tuple[Strip, NDArray[np.bool_]]]:
    """A result's pixels from top to bottom, and which of them count: its own mask, or above another threshold."""
    with unplaced_is_fine(), rasterio.open(mask) as masks, rasterio.open(probability) as probabilities:
        for row in range(0, masks.height, _ROWS):
            window = rasterio.windows.Window(0, row, masks.width, min(_ROWS, masks.height - row))
            values = probabilities.read(1, window=window)
            counts = masks.read_masks(1, window=window) > 0
            above = masks.read(1, window=window) > 0 if threshold is None else values > 255 * threshold
            yield Strip(row, above & counts, values), counts


def write_grid(path: Path, rows: Iterable[Rows], frame: Frame, tags: Mapping[str, str], *, smooth: bool) -> None:
    """An 8-bit Cloud Optimized GeoTIFF of the frame, whole or not at all; what does not count is masked.

    Args:
        path: where.
        rows: from top to bottom.
        frame: its size and place.
        tags: its metadata.
        smooth: whether its overviews are means instead of the most frequent value.

    Raises:
        UserError: the disk is full, or does not allow it.
    """
    draft = path.with_name(f".{path.stem}.draft.tif")
    shape: dict[str, Any] = {"width": frame.width, "height": frame.height, "count": 1, "dtype": "uint8"}
    if frame.transform is not None:
        shape |= {"crs": CRS.from_wkt(frame.crs_wkt) if frame.crs_wkt else None, "transform": frame.transform}
    tiling = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "zlevel": 1}
    try:
        with replaced_file(path) as temporary, unplaced_is_fine(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
            with rasterio.open(draft, "w", driver="GTiff", bigtiff="if_safer", **shape, **tiling) as target:
                target.update_tags(**tags)
                for row, values, counts in rows:
                    window = rasterio.windows.Window(0, row, frame.width, len(values))
                    target.write(values, 1, window=window)
                    target.write_mask(counts, window=window)
            how = {"compress": "deflate", "blocksize": BLOCK, "bigtiff": "if_safer"}
            overviews = "average" if smooth else "mode"
            rasterio.shutil.copy(draft, temporary, driver="COG", overview_resampling=overviews, **how)
    finally:
        draft.unlink(missing_ok=True)


@dataclass(frozen=True)
class Sum:
    """What was found in all.

    Attributes:
        objects: how many.
        pixels: of all of them.
        area: of all of them, in the ground's unit.
        box: (x0, y0, x1, y1) in pixels around all of them; None when there is none.
    """

    objects: int
    pixels: int
    area: float
    box: tuple[float, float, float, float] | None


def sum_up(strips: Iterable[Strip], ground: Ground) -> Sum:
    """Count and measure the objects of a mask."""
    objects = pixels = 0
    area = 0.0
    boxes = []
    for one in trace_objects(strips):
        objects += 1
        pixels += one.pixels
        area += ground.area(one.outline)
        boxes.append(one.outline.bounds)
    if not boxes:
        return Sum(0, 0, 0.0, None)
    corners = np.array(boxes)
    (x0, y0), (x1, y1) = corners[:, :2].min(axis=0), corners[:, 2:].max(axis=0)
    return Sum(objects, pixels, area, (float(x0), float(y0), float(x1), float(y1)))


def box_in_degrees(box: tuple[float, float, float, float], ground: Ground) -> tuple[float, float, float, float]:
    """West, south, east and north of a box in pixels."""
    west, south, east, north = ground.place(shapely.box(*box)).bounds
    return float(west), float(south), float(east), float(north)


@dataclass(frozen=True)
class Layer:
    """One phrase's objects, for a file.

    Attributes:
        phrase: what was asked.
        strips: its mask and probabilities.
    """

    phrase: str
    strips: Iterable[Strip]


def write_polygons(
    path: Path, layers: Iterable[Layer], frame: Frame, *, name: str, model: str, min_area: float = 0.0
) -> None:
    """The objects of some phrases as a GeoPackage or GeoJSON, by the path's ending.

    Args:
        path: where.
        layers: the phrases.
        frame: the scene's.
        name: what the scene is called.
        model: who answered.
        min_area: objects with fewer square metres are left out.

    Raises:
        UserError: the disk is full, or does not allow it.
    """
    ground = ground_of(frame)
    target = Target(
        layer=path.stem,
        crs_wkt=frame.crs_wkt,
        transform=frame.transform or affine.identity,
        ground=ground,
        tags={"SOURCE": name, "MODEL": model, "REFERSAT": __version__},
    )
    with feature_file(path, path.suffix.removeprefix("."), target) as add:
        for layer in layers:
            describe = Describe(ground, layer.phrase, model, name, __version__, min_area)
            add(feature for feature, _ in describe.features(trace_objects(layer.strips)))
