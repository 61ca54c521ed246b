"""The whole scene at a glance: where a model sees on an overview what a phrase names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import rasterio.features
import shapely
import shapely.affinity
from numpy.typing import NDArray

from refersat.scene.blend import quantised
from refersat.scene.focus import CloseUp
from refersat.scene.reader import Patch
from refersat.scene.strategy import Look, Reads
from refersat.scene.tiles import WHOLE_SIDE
from refersat.scene.window import Window
from refersat.vector import mask_polygons

_LEAST_SHARE = 1 / 20  # of the largest region: what is smaller is no candidate


@dataclass(frozen=True, eq=False)
class Afar:
    """What a model sees on an overview.

    Attributes:
        outlines: of what it marks, in pixels of the scene, the largest first; of a model of two stages the boxes that
            its first one found.
        boxes: whether they are such boxes.
        score: that the target is there, 0 to 1.
        pixel: side of one of the overview's pixels, in pixels of the scene.
        probability: float32 (h, w), of the overview.
        extent: of the scene.
    """

    outlines: Sequence[shapely.Polygon]
    score: float
    pixel: float
    probability: NDArray[np.float32]
    extent: Window
    boxes: bool = False

    def seen(self, outline: shapely.Polygon) -> CloseUp:
        """One of the regions as the overview shows it, in the pixels of the scene."""
        left, top, right, bottom = (round(value) for value in outline.bounds)
        here = shapely.affinity.translate(outline, -left, -top)
        shape = (bottom - top, right - left)
        inside = rasterio.features.rasterize([here], out_shape=shape, dtype=np.uint8).astype(np.float32)
        cut = _cut(self.probability, self.extent, Window(left, top, shape[1], shape[0]))
        return CloseUp(Window(left, top, shape[1], shape[0]), quantised(inside * cut))


def look_from_afar(look: Look, phrase: str, threshold: float) -> Afar:
    """What the model answers when it sees the whole extent at once, reduced to `WHOLE_SIDE`."""
    extent = look.extent
    pixel = max(1.0, max(extent.width, extent.height) / WHOLE_SIDE)
    size = (max(1, round(extent.height / pixel)), max(1, round(extent.width / pixel)))
    patch = look.reader.read(extent, size)
    if not patch.valid.any():
        return Afar((), 0.0, pixel, np.zeros(size, np.float32), extent)
    image = patch.image()
    (answer,) = look.segmenter.probabilities([(image, phrase)])
    if not answer.present:
        outlines = []
    elif answer.boxes:  # a box is told from few pixels already, from which no mask can be drawn
        outlines = [shapely.box(*box) for box in answer.boxes]
    else:
        outlines = mask_polygons(answer.values > threshold)
        outlines = [one for one in outlines if one.area >= _LEAST_SHARE * outlines[0].area]
    across, down = extent.width / size[1], extent.height / size[0]
    placed = [shapely.affinity.affine_transform(one, (across, 0, 0, down, extent.x, extent.y)) for one in outlines]
    return Afar(placed, answer.score, pixel, answer.values, extent, boxes=bool(answer.boxes))


def _cut(values: NDArray[np.float32], extent: Window, window: Window) -> NDArray[np.float32]:
    """A window of an overview, at the scene's resolution."""
    across, down = values.shape[1] / extent.width, values.shape[0] / extent.height
    x = (np.arange(round(window.width)) + 0.5 + window.x - extent.x) * across - 0.5
    y = (np.arange(round(window.height)) + 0.5 + window.y - extent.y) * down - 0.5
    columns, rows = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    cut = cv2.remap(values, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.float32)


@dataclass(frozen=True, eq=False)
class Gate:
    """A scene of which only what lies in or close to some outlines counts, as if there were no data elsewhere.

    Attributes:
        scene: to be read.
        outlines: in pixels of the scene.
        margin: pixels around them that count as well.
    """

    scene: Reads
    outlines: Sequence[shapely.Polygon]
    margin: float

    @cached_property
    def _tree(self) -> shapely.STRtree:
        return shapely.STRtree([shapely.buffer(one, self.margin) for one in self.outlines])

    @property
    def name(self) -> str:
        """The scene's."""
        return self.scene.name

    @property
    def gsd(self) -> tuple[float, float] | None:
        """The scene's."""
        return self.scene.gsd

    @property
    def extent(self) -> Window:
        """The scene's."""
        return self.scene.extent

    def read(self, window: Window, size: tuple[int, int] | None = None) -> Patch:
        """See `SceneReader.read`; where nothing counts, nothing is read."""
        shape = size or (round(window.height), round(window.width))
        frame = shapely.box(window.x, window.y, window.right, window.bottom)
        near = self._tree.geometries[self._tree.query(frame, predicate="intersects")]
        if not len(near):
            return Patch(np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.bool_))
        patch = self.scene.read(window, size)
        grow = (shape[1] / window.width, 0, 0, shape[0] / window.height)
        placed = [
            shapely.affinity.affine_transform(one, (*grow, -window.x * grow[0], -window.y * grow[3])) for one in near
        ]
        inside = rasterio.features.rasterize(placed, out_shape=shape, dtype=np.uint8).astype(bool)
        return Patch(patch.pixels, patch.valid & inside)
