"""Random views: outlines stay on the pixels that they outline."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from refersat.data import shapes
from refersat.data.coco import CocoImage
from refersat.text.scene import SceneObject
from refersat.training.augment import SMALLEST_OBJECT, random_view
from refersat.training.recipe import AugmentOptions

CELL = 24


def painted_scene(columns: int, rows: int, rng: np.random.Generator) -> tuple[NDArray[np.uint8], CocoImage]:
    """One object in each cell of a grid, alternately a rectangle on the pixels' edges and a triangle.

    The object of index i has the grey level i + 1, the ground 0.
    """
    width, height = columns * CELL, rows * CELL
    pixels = np.zeros((height, width, 3), np.uint8)
    objects, outlines = [], []
    for cell in range(columns * rows):
        x, y = cell % columns * CELL, cell // columns * CELL
        if cell % 2:
            ring = rng.uniform(0, CELL, size=(3, 2))
        else:
            (x0, x1), (y0, y1) = (np.sort(rng.choice(CELL + 1, 2, replace=False)) for _ in range(2))
            ring = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float)
        shape = ((ring + np.array([x, y]),),)
        area, centroid = shapes.moments(shape)
        objects.append(SceneObject(f"kind {cell}", shapes.bounds(shape), centroid, area))
        outlines.append(shape)
        pixels[shapes.rasterise([shape], width, height)] = cell + 1
    return pixels, CocoImage("painted.png", width, height, tuple(objects), tuple(outlines))


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    columns=st.integers(1, 5),
    rows=st.integers(1, 5),
    crop=st.sampled_from([0.0, 0.5, 1.0]),
    smallest_crop=st.floats(0.1, 1.0),
    flip=st.booleans(),
    rotate=st.booleans(),
)
def test_outlines_match_the_pixels(
    seed: int, columns: int, rows: int, crop: float, smallest_crop: float, flip: bool, rotate: bool
) -> None:
    rng = np.random.default_rng(seed)
    pixels, scene = painted_scene(columns, rows, rng)
    options = AugmentOptions(crop=crop, smallest_crop=smallest_crop, flip=flip, rotate=rotate, colour=0)
    view = random_view(pixels, scene, options, rng)

    height, width = view.pixels.shape[:2]
    assert (view.scene.width, view.scene.height) == (width, height)
    assert width <= max(scene.width, scene.height)
    kept = set()
    for index, item in enumerate(view.scene.objects):
        number = int(item.category.removeprefix("kind "))
        kept.add(number)
        np.testing.assert_array_equal(view.scene.mask([index]), view.pixels[..., 0] == number + 1)
    for number in range(0, columns * rows, 2):  # of a rectangle, the area is the number of its pixels
        seen = np.count_nonzero(view.pixels[..., 0] == number + 1)
        assert (number in kept) == (seen >= SMALLEST_OBJECT)


def orientations(options: AugmentOptions) -> tuple[set[bytes], NDArray[np.uint8]]:
    pixels = np.arange(40 * 40, dtype=np.uint16).astype(np.uint8).reshape(40, 40, 1).repeat(3, axis=2)
    pixels[:5, :9] = 255
    scene = CocoImage("a.png", 40, 40, (), ())
    views = (random_view(pixels, scene, options, np.random.default_rng(seed)).pixels for seed in range(100))
    return {view.tobytes() for view in views}, pixels


def test_every_flip_and_turn_occurs() -> None:
    found, pixels = orientations(AugmentOptions(crop=0, colour=0))
    turned = [np.rot90(side, k) for side in (pixels, pixels[:, ::-1]) for k in range(4)]
    assert found == {np.ascontiguousarray(view).tobytes() for view in turned}


def test_nothing_asked_for_changes_nothing() -> None:
    found, pixels = orientations(AugmentOptions(crop=0, flip=False, rotate=False, colour=0))
    assert found == {pixels.tobytes()}


def test_crops_are_as_large_as_asked_for() -> None:
    pixels, scene = painted_scene(5, 5, np.random.default_rng(0))
    options = AugmentOptions(crop=1, smallest_crop=0.5, rotate=False, colour=0)
    sizes = np.array(
        [random_view(pixels, scene, options, np.random.default_rng(s)).pixels.shape[:2] for s in range(200)]
    )
    assert (sizes >= 0.5 * 0.8**0.5 * 120 - 1).all()
    assert (sizes <= 120).all()
    assert len(np.unique(sizes)) > 20


def test_an_image_smaller_than_the_smallest_crop_is_kept_whole() -> None:
    pixels, scene = painted_scene(1, 1, np.random.default_rng(0))
    options = AugmentOptions(crop=1, smallest_crop=0.1, rotate=False, colour=0)
    assert random_view(pixels, scene, options, np.random.default_rng(0)).pixels.shape == pixels.shape


def test_colours_change_but_not_the_geometry() -> None:
    pixels, scene = painted_scene(3, 2, np.random.default_rng(0))
    pixels += 60
    options = AugmentOptions(crop=0, flip=False, rotate=False, colour=0.25)
    first, second = (random_view(pixels, scene, options, np.random.default_rng(seed)) for seed in (0, 1))
    assert first.pixels.dtype == np.uint8
    assert not np.array_equal(first.pixels, pixels)
    assert not np.array_equal(first.pixels, second.pixels)
    ground = np.all(pixels == pixels[-1, -1], axis=2)
    assert len(np.unique(first.pixels[ground], axis=0)) == 1  # equal pixels stay equal
