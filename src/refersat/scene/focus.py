"""A candidate seen at the model's best: in the middle of a window of its own, at native resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import cv2
import numpy as np
import rasterio.features
import shapely
import shapely.affinity
from numpy.typing import NDArray

from refersat.imagery import Image
from refersat.scene.blend import quantised
from refersat.scene.objects import label_strip
from refersat.scene.strategy import Look
from refersat.scene.window import Window

_ROOM = 0.8  # of a window, that a candidate may take; the rest shows what is around it
_LEAST_COVERED = 0.5  # of the candidate's pixels, that what is found in its place must cover
_LEAST_OF_BOX = 0.1  # likewise, of a candidate of which only the box is known: a bridge may cross it
_MOST_GROWN = 4.0  # times the candidate's area
_BORDER = 5  # pixels wide, in which probabilities fade around an object


@dataclass(frozen=True, eq=False)
class CloseUp:
    """Probabilities (h, w), 0 to `FULL`, of one object, and where they lie in the scene (whole pixels)."""

    window: Window
    probability: NDArray[np.uint16]


def fits(outline: shapely.Polygon, side: float) -> bool:
    """Whether a window of this side shows a candidate with what is around it."""
    left, top, right, bottom = outline.bounds
    return max(right - left, bottom - top) <= _ROOM * side


def focus(
    look: Look,
    phrase: str,
    outlines: Sequence[shapely.Polygon],
    *,
    side: float,
    threshold: float,
    boxes: bool = False,
) -> list[CloseUp | None]:
    """What a phrase names in windows around candidates: of each, the object in its place.

    Args:
        look: scene and model; its phrases do not matter.
        phrase: what the candidates are.
        outlines: of the candidates, in pixels of the scene.
        side: of the windows, in pixels of the scene.
        threshold: probability above which a pixel belongs to an object.
        boxes: whether the outlines are only boxes around the candidates.

    Returns:
        For each candidate what is there, or None where that is nothing, or clearly something else.
    """
    windows = [_around(outline, side, look.extent) for outline in outlines]
    tile = look.options.tile
    scale = tile / side

    def image(window: Window) -> Image:
        size = (max(1, round(window.height * scale)), max(1, round(window.width * scale)))
        patch = look.reader.read(window, size)
        return patch.image()

    questions = zip(map(image, windows), repeat(phrase), strict=False)
    answers = look.segmenter.probabilities(questions, batch_size=look.options.batch_size)
    found: list[CloseUp | None] = []
    for answer, window, outline in zip(answers, windows, outlines, strict=True):
        size = (round(window.width), round(window.height))
        values = np.asarray(cv2.resize(answer.values, size, interpolation=cv2.INTER_LINEAR), np.float32)
        least = _LEAST_OF_BOX if boxes else _LEAST_COVERED
        own = _object_at(values, outline, window, threshold, least) if answer.present else None
        found.append(None if own is None else CloseUp(window, quantised(own)))
    return found


def _around(outline: shapely.Polygon, side: float, extent: Window) -> Window:
    """A square around a candidate's middle, moved into the extent and cut where that is smaller."""
    left, top, right, bottom = outline.bounds
    width, height = (round(min(side, size)) for size in (extent.width, extent.height))
    x = min(max(round((left + right - width) / 2), extent.x), extent.right - width)
    y = min(max(round((top + bottom - height) / 2), extent.y), extent.bottom - height)
    return Window(x, y, width, height)


def _object_at(
    values: NDArray[np.float32], outline: shapely.Polygon, window: Window, threshold: float, least: float
) -> NDArray[np.float32] | None:
    """The probabilities of what lies where the candidate does, without those of its neighbours."""
    here = shapely.affinity.translate(outline, -window.x, -window.y)
    place = rasterio.features.rasterize([here], out_shape=values.shape, dtype=np.uint8).astype(bool)
    labels, count = label_strip(values > threshold)
    covered = np.bincount(labels[place], minlength=count + 1)
    covered[0] = 0
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    # A region belongs to the candidate where a fair part of it, or of the candidate, lies in its place.
    own = np.isin(labels, np.flatnonzero(covered * 4 > np.minimum(sizes, place.sum())))
    if (own & place).sum() < least * place.sum() or own.sum() > _MOST_GROWN * place.sum():
        return None
    reach = cv2.dilate(own.astype(np.uint8), np.ones((_BORDER, _BORDER), np.uint8)).astype(bool)
    return np.where(own | (reach & (labels == 0)), values, np.float32(0))
