"""Many layouts of one: turned, a part of it, fewer or other objects. What is found changes with what is outlined.

From the same few thousand layouts a model would learn by heart what is meant in each, instead of what the words mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from refersat.box import Box
from refersat.text.scene import SceneObject
from refersat.training.layouts import FOUND, Layout

FORMS = 8
"""Of a layout: mirrored left to right or not, up to down or not, and its axes exchanged or not."""

CROPPED = 0.7
"""Share of layouts that are cut out of a larger one."""

SMALLEST_CROP = 0.5
"""Side of what is cut out, relative to the whole."""

THINNED = 0.5
"""Share of layouts that lose up to half of their objects."""

SWAPPED = 0.5
"""Share of layouts whose objects look like others of their kind."""

NOISE = 0.3
"""Deviation of what is added to features, whose own is 1."""

TOUCHED = 0.4
"""What belongs to a lost object by more is lost with it, unless `HELD` by others; both as `Layout.inside`."""

HELD = 2.0

_TOLERANCE = 0.01
"""By which an outline may leave the frame and still be whole: crops of images cut on pixels."""


Looks = Mapping[str, NDArray[np.float16]]
"""Category -> features (M, C) of the objects of it that were found."""


def looks_of(layouts: Sequence[Layout]) -> Looks:
    """What the categories look like in layouts."""
    found: dict[str, list[NDArray[np.float16]]] = {}
    for layout in layouts:
        owned, owner = _owners(layout)
        for place in np.flatnonzero(owned):
            found.setdefault(layout.scene.objects[owner[place]].category, []).append(layout.features[place])
    return {category: np.stack(features) for category, features in found.items()}


def varied(layout: Layout, looks: Looks, rng: np.random.Generator) -> Layout:
    """A layout like it that could be real."""
    layout = turned(layout, int(rng.integers(FORMS)))
    if rng.random() < CROPPED:
        sides = rng.uniform(SMALLEST_CROP, 1, size=2)
        layout = cropped(layout, *(float(x) for x in rng.uniform(0, 1 - sides)), *(float(side) for side in sides))
    if rng.random() < THINNED:
        layout = thinned(layout, rng)
    if rng.random() < SWAPPED:
        layout = swapped(layout, looks, rng)
    noise = rng.normal(0, NOISE, size=layout.features.shape)
    return replace(layout, features=(layout.features + noise).astype(np.float16))


def turned(layout: Layout, form: int) -> Layout:
    """One of a layout's `FORMS`; 0 is the layout itself. Outlines stay behind: only their boxes are talked about."""
    width, height = layout.scene.width, layout.scene.height
    objects = tuple(_turned_object(item, form, width, height) for item in layout.scene.objects)
    boxes = np.stack(_turned_box(tuple(layout.boxes.T), form, 1.0, 1.0), axis=1)
    if form & 4:
        width, height = height, width
    return replace(
        layout,
        scene=replace(layout.scene, width=width, height=height, objects=objects, shapes=()),
        boxes=np.where(layout.scores[:, None] > 0, boxes, 0).astype(np.float32),
    )


def _turned_object(item: SceneObject, form: int, width: float, height: float) -> SceneObject:
    x, y = item.centroid
    x, y, _, _ = _turned_box((x, y, x, y), form, width, height)
    return replace(item, box=_turned_box(item.box, form, width, height), centroid=(x, y))


def _turned_box(box: Box, form: int, width: float, height: float) -> Box:
    x0, y0, x1, y1 = box
    if form & 1:
        x0, x1 = width - x1, width - x0
    if form & 2:
        y0, y1 = height - y1, height - y0
    return (y0, x0, y1, x1) if form & 4 else (x0, y0, x1, y1)


def cropped(layout: Layout, left: float, top: float, width: float, height: float) -> Layout:
    """What lies in a window, given in shares of the sides; objects on its border go. The layout itself if none is left.

    Outlines are left behind, as in `turned`.
    """
    frame = np.array([left, top, left, top])
    sides = np.array([width, height, width, height])
    whole = np.array([layout.scene.width, layout.scene.height] * 2)
    outlined = (np.array([item.box for item in layout.scene.objects]) / whole - frame) / sides
    kept = ((outlined >= -_TOLERANCE) & (outlined <= 1 + _TOLERANCE)).all(1)
    if not kept.any():
        return layout
    boxes = (layout.boxes - frame) / sides
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    seen = ((centres > 0) & (centres < 1)).all(1)
    # Of what is found, that of a lost object goes, and what is nobody's goes by its own place.
    owned, owner = _owners(layout)
    found = seen & (layout.scores > 0) & np.where(owned, kept[owner], True)
    moved = replace(layout, boxes=np.clip(boxes, 0, 1).astype(np.float32))
    x, y = left * layout.scene.width, top * layout.scene.height
    scene = replace(
        layout.scene,
        width=round(layout.scene.width * width),
        height=round(layout.scene.height * height),
        objects=tuple(_shifted(item, x, y) for item in layout.scene.objects),
        shapes=(),
    )
    return _with(replace(moved, scene=scene), kept, found)


def thinned(layout: Layout, rng: np.random.Generator) -> Layout:
    """Without some of its objects, half at most."""
    count = len(layout.scene.objects)
    if count < 3:
        return layout
    kept = np.ones(count, bool)
    kept[rng.choice(count, int(rng.integers(1, count // 2 + 1)), replace=False)] = False
    inside = layout.inside.astype(np.float32)
    lost = (inside[~kept].sum(0) > TOUCHED) & (inside[kept].sum(0) < HELD)
    return _with(layout, kept, (layout.scores > 0) & ~lost)


def swapped(layout: Layout, looks: Looks, rng: np.random.Generator) -> Layout:
    """With objects that look like others of their kind."""
    features = layout.features.copy()
    owned, owner = _owners(layout)
    for place in np.flatnonzero(owned):
        others = looks[layout.scene.objects[owner[place]].category]
        features[place] = others[int(rng.integers(len(others)))]
    return replace(layout, features=features)


def _owners(layout: Layout) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Whether each found object (K,) is an outlined one, and which comes nearest."""
    return layout.inside.max(0) > 1, layout.inside.argmax(0)


def _with(layout: Layout, kept: NDArray[np.bool_], found: NDArray[np.bool_]) -> Layout:
    """Only some of the outlined and of the found objects; of the latter one at least, be it none."""
    if not found.any():
        found = np.arange(layout.count) == 0
        layout = replace(layout, scores=np.zeros_like(layout.scores))
    objects = tuple(item for item, stays in zip(layout.scene.objects, kept, strict=True) if stays)
    return replace(
        layout,
        scene=replace(layout.scene, objects=objects, shapes=()),
        inside=layout.inside[kept][:, found],
        **{name: getattr(layout, name)[found] for name in FOUND},
    )


def _shifted(item: SceneObject, x: float, y: float) -> SceneObject:
    x0, y0, x1, y1 = item.box
    return replace(item, box=(x0 - x, y0 - y, x1 - x, y1 - y), centroid=(item.centroid[0] - x, item.centroid[1] - y))
