"""Large scenes with truth: several images of a COCO file on one canvas, and tiles of land cover put together again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning

from refersat.data.coco import CocoImage, read_coco
from refersat.text.scene import SceneObject

_CELL = 760  # pixels for one image of a canvas; those of NWPU VHR-10 have at most 720
_LEAST_REGION = 400  # pixels of a land-cover region that counts as an object
_LAND_COVER = {1: "water", 4: "building", 5: "vegetation"}
_UNLABELLED = "vehicle"  # NWPU VHR-10 labels only some of them


@dataclass(frozen=True, eq=False)
class Canvas:
    """A scene of H x W pixels and all that is known of it.

    `labels` is uint32 (H, W): 0, or the number of a category, from 1, times 65536 plus that of the object, from 1.
    """

    name: str
    photo: NDArray[np.uint8]
    labels: NDArray[np.uint32]
    objects: tuple[SceneObject, ...]
    categories: tuple[str, ...]

    def truth(self, targets: Sequence[int]) -> NDArray[np.bool_]:
        """The mask of some of the objects."""
        return np.isin(self.labels & 0xFFFF, [target + 1 for target in targets])

    def save(self, folder: Path) -> tuple[Path, Path]:
        """Write the photograph, and a picture of the labels that `scene_oracle.Oracle` reads."""
        shown = np.stack([self.labels >> 16, self.labels >> 8 & 0xFF, self.labels & 0xFF], axis=-1).astype(np.uint8)
        paths = folder / f"{self.name}.tif", folder / f"{self.name}.labels.tif"
        for path, pixels in zip(paths, (self.photo, shown), strict=True):
            height, width = pixels.shape[:2]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(
                    path, "w", driver="GTiff", width=width, height=height, count=3, dtype="uint8", compress="deflate"
                ) as dataset:
                    dataset.write(np.moveaxis(pixels, -1, 0))
        return paths


def coco_canvases(folder: Path, count: int, rng: np.random.Generator, *, side: int = 3) -> Iterator[Canvas]:
    """Canvases of side x side images of `val.json`, each drawn once until all were, on their own mean colour."""
    coco = read_coco(folder / "val.json")
    categories = tuple(name for name in coco.categories if name != _UNLABELLED)
    order: list[CocoImage] = []
    for number in range(count):
        if len(order) < side * side:
            order = [coco.images[int(i)] for i in rng.permutation(len(coco.images))]
        chosen, order = order[: side * side], order[side * side :]
        photo = np.zeros((side * _CELL, side * _CELL, 3), np.uint8)
        labels = np.zeros(photo.shape[:2], np.uint32)
        objects: list[SceneObject] = []
        for cell, image in enumerate(chosen):
            pixels = np.asarray(Image.open(folder / "images" / image.file_name).convert("RGB"))
            top, left = (int(rng.integers(_CELL - size + 1)) for size in pixels.shape[:2])
            row, column = divmod(cell, side)
            area = photo[row * _CELL : (row + 1) * _CELL, column * _CELL : (column + 1) * _CELL]
            area[:] = pixels.mean(axis=(0, 1))
            area[top : top + image.height, left : left + image.width] = pixels
            x, y = column * _CELL + left, row * _CELL + top
            placed = image.warped(np.array([[1.0, 0, x], [0, 1.0, y]]), labels.shape[1], labels.shape[0])
            for index, item in enumerate(placed.objects):
                if item.category != _UNLABELLED:
                    objects.append(item)
                    labels[placed.mask([index])] = (categories.index(item.category) + 1 << 16) + len(objects)
        yield Canvas(f"canvas-{number + 1}", photo, labels, tuple(objects), categories)


def land_cover_mosaics(folder: Path, count: int) -> Iterator[Canvas]:
    """The nine parts of a tile put together, at most `count` tiles; connected regions of a class are the objects."""
    names = sorted({path.name.partition("_")[0] for path in (folder / "images").glob("*_part1.jpg")})
    for name in names[:count]:
        photo = _mosaic([_read(folder / "images" / f"{name}_part{part}.jpg") for part in range(1, 10)])
        classes = _mosaic([_read(folder / "masks" / f"{name}_part{part}.png") for part in range(1, 10)])
        labels = np.zeros(classes.shape, np.uint32)
        objects: list[SceneObject] = []
        for number, (index, category) in enumerate(_LAND_COVER.items(), start=1):
            _, regions, stats, centroids = cv2.connectedComponentsWithStats(
                (classes == index).astype(np.uint8), connectivity=4
            )
            for region in np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= _LEAST_REGION):
                if region == 0:
                    continue
                x, y, width, height, area = (float(value) for value in stats[region])
                box, centroid = (
                    (x, y, x + width, y + height),
                    (float(centroids[region][0]), float(centroids[region][1])),
                )
                objects.append(SceneObject(category, box, centroid, area))
                labels[regions == region] = (number << 16) + len(objects)
        yield Canvas(f"dubai-{name}", photo, labels, tuple(objects), tuple(_LAND_COVER.values()))


def _read(path: Path) -> NDArray[np.uint8]:
    with Image.open(path) as picture:
        return np.array(picture.convert("RGB") if path.suffix == ".jpg" else picture)


def _mosaic(parts: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Nine parts, row by row; some are a pixel larger than others."""
    rows = [parts[k : k + 3] for k in (0, 3, 6)]
    heights = [min(len(part) for part in row) for row in rows]
    widths = [min(row[k].shape[1] for row in rows) for k in range(3)]
    return np.concatenate(
        [
            np.concatenate([part[:height, :width] for part, width in zip(row, widths, strict=True)], axis=1)
            for row, height in zip(rows, heights, strict=True)
        ]
    )
