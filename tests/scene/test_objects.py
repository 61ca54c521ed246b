"""Objects are whole across strips, and their outlines stay close to the pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.features import rasterize

from refersat.scene.objects import SceneObject, Strip, trace_objects
from refersat.scene.outline import REACH, smooth_outline
from refersat.vector import mask_polygons
from tests.scene.scenes import blobs


def strips(mask: NDArray[np.bool_], heights: list[int], probability: NDArray[np.uint8]) -> Iterator[Strip]:
    row = 0
    for height in [*heights, len(mask)]:
        if row < len(mask):
            part = slice(row, min(row + height, len(mask)))
            yield Strip(row, mask[part], probability[part])
            row += height


def traced(mask: NDArray[np.bool_], heights: list[int], probability: NDArray[np.uint8] | None = None):
    values = np.full(mask.shape, 255, np.uint8) if probability is None else probability
    return list(trace_objects(strips(mask, heights, values)))


def by_place(objects: list[SceneObject]) -> list[SceneObject]:
    return sorted(objects, key=lambda one: (one.outline.bounds, one.pixels))


@settings(deadline=None, max_examples=30)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    heights=st.lists(st.integers(1, 20), max_size=12),
    grain=st.integers(1, 9),
    seed=st.integers(0, 999),
)
def test_strips_leave_no_trace(height: int, width: int, heights: list[int], grain: int, seed: int) -> None:
    values = blobs(height, width, seed=seed, grain=grain)
    mask = values > 127
    found, whole = by_place(traced(mask, heights, values)), mask_polygons(mask)
    assert len(found) == len(whole)
    assert sum(one.pixels for one in found) == mask.sum()
    expected = sorted(whole, key=lambda polygon: (polygon.bounds, polygon.area))
    for one, polygon in zip(found, expected, strict=True):
        assert one.outline.is_valid
        assert one.outline.equals(polygon)
        assert one.pixels == pytest.approx(polygon.area)
        inside = rasterize([polygon], mask.shape) > 0
        assert one.score == pytest.approx(values[inside].mean() / 255)


def test_one_object_may_come_together_and_go_on_through_many_strips() -> None:
    comb = np.zeros((30, 21), bool)
    comb[:25, ::2] = True  # teeth that only their last row joins
    comb[24] = True
    (one,) = traced(comb, [4] * 6)
    assert one.pixels == comb.sum()
    assert len(traced(comb[:24], [4] * 6)) == 11
    assert len(one.labels) == len(set(one.labels))


def test_objects_that_meet_at_a_corner_stay_apart() -> None:
    assert len(traced(np.eye(6, dtype=bool), [2])) == 6


def test_holes_stay_holes() -> None:
    ring = np.ones((9, 9), bool)
    ring[3:6, 3:6] = False
    (one,) = traced(ring, [4, 1])
    assert len(one.outline.interiors) == 1
    assert smooth_outline(one.outline).interiors[0].length < 12


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(0, 999))
def test_smooth_outlines_are_valid_and_within_half_a_pixel(height: int, width: int, grain: int, seed: int) -> None:
    for outline in mask_polygons(blobs(height, width, seed=seed, grain=grain) > 127):
        smooth = smooth_outline(outline)
        assert smooth.is_valid
        assert smooth.geom_type == "Polygon"
        assert len(smooth.interiors) == len(outline.interiors)
        assert shapely.hausdorff_distance(smooth.boundary, outline.boundary, densify=0.05) <= REACH + 1e-6
        assert smooth.area == pytest.approx(outline.area, abs=0.15 * outline.length + 0.6)


def test_stairs_become_lines_and_straight_edges_stay() -> None:
    stairs = mask_polygons(np.tri(80, dtype=bool))[0]
    assert len(stairs.exterior.coords) > 150
    assert len(smooth_outline(stairs).exterior.coords) <= 10
    square = smooth_outline(shapely.box(10, 10, 40, 30))
    assert len(square.exterior.coords) == 9  # its corners cut by half a pixel
    assert square.area == pytest.approx(30 * 20 - 0.5)
