"""The objects that a search of the whole scene has found, and those that a phrase means."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from refersat.scene.blend import FULL
from refersat.scene.objects import SceneObject, Strip, label_strip, trace_objects
from refersat.scene.window import Window
from refersat.text import scene as text_scene
from refersat.text.parse import Reading
from refersat.text.resolve import resolve

_SPECK = 1 / 20  # of an ordinary object's area: what is smaller is no object, only a trace of one


def find_candidates(layer: Iterable[NDArray[np.uint16]], extent: Window, level: int) -> list[SceneObject]:
    """The objects in the bands of a layer, pixels above `level` (0 to `FULL`)."""
    return list(trace_objects(_strips(layer, extent, level), column=int(extent.x)))


def without_specks(found: Sequence[SceneObject]) -> list[SceneObject]:
    """Those that are not far too small.

    An object is a speck when it has less than a twentieth of the pixels of an ordinary one; ordinary is the one in the
    middle, by area, of all that was found.
    """
    sizes = np.sort([one.pixels for one in found])
    ordinary = sizes[np.searchsorted(np.cumsum(sizes), sizes.sum() / 2)] if found else 0
    return [one for one in found if one.pixels >= _SPECK * ordinary]


def _strips(layer: Iterable[NDArray[np.uint16]], extent: Window, level: int) -> Iterator[Strip]:
    row = int(extent.y)
    for values in layer:
        yield Strip(row, values > level, (values // (FULL // 255)).astype(np.uint8))
        row += len(values)


def only(layer: Iterable[NDArray[np.uint16]], kept: Sequence[SceneObject], level: int) -> Iterator[NDArray[np.uint16]]:
    """The bands of a layer with nothing above `level` but these of its objects."""
    labels = np.array(sorted(label for one in kept for label in one.labels), np.int64)
    before = 0
    for values in layer:
        if not labels.size:
            yield np.zeros_like(values)
            continue
        numbers, count = label_strip(values > level)
        here = labels[(labels > before) & (labels <= before + count)] - before
        keep = np.zeros(count + 1, bool)
        keep[here] = True
        yield np.where(keep[numbers], values, np.uint16(0))
        before += count


def meant(reading: Reading, found: Mapping[str, Sequence[SceneObject]], extent: Window) -> list[SceneObject] | None:
    """The candidates that the phrase means, among those found for the `kind_phrase` of each of its readings.

    Specks are none where one object is singled out, nor where things are counted or compared; "all ships on the left"
    has them. None where another thing that the phrase names was not found, so that nobody can tell.
    """
    if any(not found[other.kind_phrase] for other in _others(reading)):
        return None
    said = reading.meaning
    takes_all = said.plural and said.kind == "group"
    everything = [
        (kind, one)
        for kind in kind_phrases(reading)
        for one in (found[kind] if takes_all else without_specks(found[kind]))
    ]
    objects = [_as_object(kind, one, extent) for kind, one in everything]
    scene = text_scene.Scene(objects, extent.width, extent.height, text_scene.DEFAULT_RULES)
    chosen = resolve(reading, scene, lambda one: scene.by_category.get(one.kind_phrase, []))
    return [everything[index][1] for index in chosen]


def kind_phrases(reading: Reading) -> list[str]:
    """What must be searched for to know what a phrase means."""
    return list(dict.fromkeys(one.kind_phrase for one in (reading, *_others(reading))))


def _others(reading: Reading) -> Iterator[Reading]:
    """What the phrase names besides the object itself."""
    for anchor in (reading.anchor, *(anchor for _, anchor in reading.further)):
        if anchor:
            yield anchor
            yield from _others(anchor)


def _as_object(kind: str, one: SceneObject, extent: Window) -> text_scene.SceneObject:
    left, top, right, bottom = one.outline.bounds
    box = (left - extent.x, top - extent.y, right - extent.x, bottom - extent.y)
    centroid = (one.outline.centroid.x - extent.x, one.outline.centroid.y - extent.y)
    return text_scene.SceneObject(kind, box, centroid, float(one.pixels))
