"""Objects are whole whatever bands they come in, and specks are none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from refersat.scene.blend import FULL
from refersat.scene.candidates import find_candidates, meant, only, without_specks
from refersat.scene.window import Window
from refersat.text.parse import parse

EXTENT = Window(5, 7, 60, 40)
LEVEL = FULL // 2
#         x, y, width, height in the extent
OBJECTS = ((2, 2, 10, 8), (30, 4, 6, 30), (50, 30, 8, 8), (20, 20, 1, 1))


def layer(rows: int = 7, objects: tuple[tuple[int, ...], ...] = OBJECTS) -> Iterator[NDArray[np.uint16]]:
    values = np.zeros((40, 60), np.uint16)
    for x, y, width, height in objects:
        values[y : y + height, x : x + width] = FULL
    for row in range(0, 40, rows):
        yield values[row : row + rows]


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_objects_are_whole_and_specks_are_none(rows: int) -> None:
    found = find_candidates(layer(rows), EXTENT, LEVEL)
    boxes = [(x + 5, y + 7, x + 5 + width, y + 7 + height) for x, y, width, height in OBJECTS]
    assert sorted(one.outline.bounds for one in found) == sorted(boxes)
    assert sorted(one.outline.bounds for one in without_specks(found)) == sorted(boxes[:3])
    assert without_specks([]) == []
    assert not find_candidates(layer(rows, ()), EXTENT, LEVEL)


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_only_what_is_meant_is_left(rows: int) -> None:
    found = find_candidates(layer(rows), EXTENT, LEVEL)
    reading = parse("the largest barn")
    assert reading
    chosen = meant(reading, {reading.kind_phrase: found}, EXTENT)
    assert chosen
    kept = np.concatenate(list(only(layer(rows), chosen, LEVEL)))
    np.testing.assert_array_equal(kept, np.concatenate(list(layer(rows, OBJECTS[1:2]))))
    assert not np.concatenate(list(only(layer(rows), [], LEVEL))).any()


def test_specks_count_only_where_all_are_meant() -> None:
    found = find_candidates(layer(), EXTENT, LEVEL)
    smallest = parse("the smallest barn")
    assert smallest
    assert [one.pixels for one in meant(smallest, {"all barns": found}, EXTENT) or ()] == [64]
    small = parse("the barns in the middle")
    assert small
    assert 1 in [one.pixels for one in meant(small, {"all barns": found}, EXTENT) or ()]


def test_nobody_can_tell_without_the_other_thing() -> None:
    reading = parse("the barn below the mill")
    assert reading
    found = find_candidates(layer(), EXTENT, LEVEL)
    assert meant(reading, {"all barns": found, "all mills": []}, EXTENT) is None
    assert meant(reading, {"all barns": [], "all mills": found}, EXTENT) == []
