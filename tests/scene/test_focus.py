"""A candidate is seen again in a window of its own: whole, by itself, and only if it is still there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray

from refersat.imagery import Image
from refersat.scene.blend import FULL
from refersat.scene.focus import focus
from refersat.scene.options import SceneOptions
from refersat.scene.reader import Patch
from refersat.scene.strategy import Look
from refersat.scene.window import Window

SIDE = 64
WHOLE = shapely.box(90, 40, 110, 60)


@dataclass
class Picture:
    """Stands for a `SceneReader`, and for the model that sees in it what is bright."""

    values: NDArray[np.uint8]
    name = "picture"
    gsd = None
    threshold = 0.5
    present = True

    @property
    def extent(self) -> Window:
        return Window(0, 0, self.values.shape[1], self.values.shape[0])

    def read(self, window: Window, size: tuple[int, int] | None = None) -> Patch:
        assert window.x >= 0
        assert window.right <= self.extent.right
        part = self.values[round(window.y) : round(window.bottom), round(window.x) : round(window.right)]
        return Patch(np.repeat(part[..., None], 3, axis=2), np.ones(part.shape, bool))

    def probabilities(self, questions: Iterable[tuple[Image, str]], **_: Any) -> Iterator[Any]:
        for image, _phrase in questions:
            seen = image.rgb[..., 0].astype(np.float32) / 255
            yield type("Answer", (), {"values": seen, "present": self.present, "score": 1.0})


def picture(*boxes: tuple[int, int, int, int]) -> Picture:
    values = np.zeros((100, 200), np.uint8)
    for x0, y0, x1, y1 in boxes:
        values[y0:y1, x0:x1] = 255
    return Picture(values)


def look(at: Picture, outline: shapely.Polygon, *, boxes: bool = False) -> NDArray[np.bool_] | None:
    """What is found for a candidate, in the whole picture; None when nothing is."""
    seen: Any = Look(at, at, ["x"], SceneOptions(tile=SIDE))  # type: ignore[arg-type]
    (found,) = focus(seen, "all barns", [outline], side=SIDE, threshold=0.5, boxes=boxes)
    if found is None:
        return None
    mask = np.zeros(at.values.shape, bool)
    x, y = round(found.window.x), round(found.window.y)
    height, width = found.probability.shape
    mask[y : y + height, x : x + width] = found.probability > FULL // 2
    return mask


@pytest.mark.parametrize("outline", [WHOLE, shapely.box(90, 40, 101, 60)], ids=["whole", "cut at a seam"])
def test_a_candidate_is_found_whole_and_without_its_neighbours(outline: shapely.Polygon) -> None:
    scene = picture((90, 40, 110, 60), (112, 40, 118, 60))
    found = look(scene, outline)
    assert found is not None
    np.testing.assert_array_equal(found, picture((90, 40, 110, 60)).values > 0)


def test_at_the_border_the_window_stays_inside() -> None:
    found = look(picture((190, 0, 200, 10)), shapely.box(190, 0, 200, 10))
    assert found is not None
    assert found.sum() == 100


def test_what_is_not_there_any_more_is_not_found() -> None:
    assert look(picture(), WHOLE) is None
    assert look(picture((108, 58, 130, 70)), WHOLE) is None  # something else
    scene = picture((90, 40, 110, 60))
    scene.present = False
    assert look(scene, WHOLE) is None


def test_in_a_box_an_object_may_be_slim() -> None:
    scene = picture((90, 48, 110, 53))
    assert look(scene, WHOLE) is None
    found = look(scene, WHOLE, boxes=True)
    assert found is not None
    assert found.sum() == 100
    assert look(picture((90, 48, 91, 53)), WHOLE, boxes=True) is None
