"""Tiles cover every pixel, and what they say is blended without a trace of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.scene.blend import FULL, Blender, quantised
from refersat.scene.plan import WEIGHT_SUM, Axis, Grid
from refersat.scene.rows import Line
from refersat.scene.window import Window

SIZES = st.integers(1, 400)
TILES = st.integers(1, 150)
OVERLAPS = st.floats(0, 0.9)


@given(SIZES, TILES, OVERLAPS)
def test_tiles_lie_inside_cover_everything_and_overlap_as_asked(size: int, tile: int, overlap: float) -> None:
    axis = Axis.covered(size, tile, overlap)
    assert axis.starts[0] == 0
    assert axis.starts[-1] + axis.tile == size
    assert axis.tile == min(tile, size)
    strides = np.diff(axis.starts)
    assert (strides >= 0).all()
    assert (strides <= max(1, np.ceil(axis.tile * (1 - overlap)))).all()


@given(SIZES, TILES, OVERLAPS)
def test_weights_add_up_to_the_same_at_every_pixel(size: int, tile: int, overlap: float) -> None:
    axis = Axis.covered(size, tile, overlap)
    total = np.zeros(size, dtype=np.int64)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        total[start : start + axis.tile] += weights
    assert (total == WEIGHT_SUM).all()


def test_weights_rise_smoothly_over_the_overlap() -> None:
    axis = Axis.covered(1000, 400, 0.5)
    inner = axis.weights[1].astype(int)
    assert np.abs(np.diff(inner)).max() <= 3
    assert inner.max() > WEIGHT_SUM * 0.9
    assert inner[0] <= 1


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 120), st.integers(1, 120), st.integers(8, 150), OVERLAPS, st.integers(0, 2**32 - 1))
def test_equal_answers_blend_to_just_that_answer(height: int, width: int, tile: int, overlap: float, seed: int) -> None:
    truth = np.random.default_rng(seed).random((height, width), dtype=np.float32)
    truth[0, 0], truth[-1, -1] = 0.0, 1.0
    rows, columns = Axis.covered(height, tile, overlap), Axis.covered(width, tile, overlap)
    blender = Blender(1, height, width, top=0)
    for y, down in zip(rows.starts, rows.weights, strict=True):
        for x, across in zip(columns.starts, columns.weights, strict=True):
            blender.add(0, quantised(truth[y : y + rows.tile, x : x + columns.tile]), (y, x), (down, across))
    np.testing.assert_array_equal(blender.rows(0, 0, height), quantised(truth))


def test_a_blender_moves_on() -> None:
    blender = Blender(1, 4, 2, top=10)
    everything = np.full(4, WEIGHT_SUM, np.uint32), np.full(2, WEIGHT_SUM, np.uint32)
    blender.add(0, quantised(np.arange(8, dtype=np.float32).reshape(4, 2) / 8), (10, 0), everything)
    blender.drop_before(12)
    np.testing.assert_array_equal(blender.rows(0, 12, 16), [[32768, 40959], [49151, 57343], [0, 0], [0, 0]])
    assert FULL == 65535


@settings(deadline=None)
@given(SIZES, SIZES)
def test_lines_are_interpolated_like_a_picture_and_piece_by_piece(source: int, target: int) -> None:
    line = Line(source, target)
    values = np.sin(np.arange(source, dtype=np.float32))[:, None]
    place = (np.arange(target) + 0.5) * source / target - 0.5
    expected = np.interp(place, np.arange(source), values[:, 0])
    whole = line.interpolate(values, 0)[:, 0]
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    for first in {0, target // 3, target - 1}:
        for stop in {first + 1, target}:
            low, high = line.first_needed(first), line.last_needed(stop)
            piece = line.interpolate(values[low : high + 1], 0, offset=low, first=first, stop=stop)
            np.testing.assert_array_equal(piece[:, 0], whole[first:stop])
    for done in {1, source // 2, source}:
        ready = line.ready(done)
        assert ready == 0 or line.last_needed(ready) < done
        assert ready == target or line.last_needed(ready + 1) >= done


def test_the_same_number_of_pixels_stays_as_it_is() -> None:
    line = Line(7, 7)
    values = np.arange(7, dtype=np.float32)[:, None] ** 2
    np.testing.assert_array_equal(line.interpolate(values, 0), values)
    assert [line.ready(done) for done in (0, 3, 7)] == [0, 3, 7]


@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
def test_a_grid_s_windows_tile_the_extent(scale: float) -> None:
    grid = Grid.scaled(Window(10, 20, 100, 60), scale, scale)
    whole = grid.window(0, 0, grid.width, grid.height)
    assert (whole.x, whole.y) == (10, 20)
    assert (whole.right, whole.bottom) == pytest.approx((110, 80))
    left, right = grid.window(0, 0, 10, grid.height), grid.window(10, 0, grid.width - 10, grid.height)
    assert left.right == pytest.approx(right.x)
