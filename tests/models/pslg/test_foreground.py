"""The foreground point lies on the object, in the box and in the image, and is the same each time."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from refersat.models.pslg.foreground import ForegroundPoint, PointOptions, foreground_point
from tests.models.pslg.shapes import GROUND, box_of, disc, ground, is_on, painted


def test_touching_discs_give_a_point_in_one_of_them_and_not_in_the_seam() -> None:
    shape = (90, 150)
    left, right = disc(shape, 45, 45, 30), disc(shape, 103, 45, 30)
    image = painted(ground(*shape), left | right, noise=3)
    found = foreground_point(image, box_of(left | right))
    assert is_on(left, found.x, found.y) != is_on(right, found.x, found.y)
    assert abs(found.x - 74) > 15  # they touch at 74
    assert len(found.candidates) == 2
    assert all(region.convexity > 0.9 for region in found.candidates)
    whole = foreground_point(image, box_of(left | right), PointOptions(marker_level=0.01))
    assert len(whole.candidates) == 1  # no depth asks for a split
    assert abs(whole.x - 74) < 2


def test_a_ring_gives_a_point_on_it_though_its_centre_is_outside() -> None:
    ring = disc((100, 100), 50, 50, 40) & ~disc((100, 100), 50, 50, 28)
    found = foreground_point(painted(ground(100, 100), ring), box_of(ring))
    assert is_on(ring, found.x, found.y)
    assert found.reason.startswith("deepest pixel")


def test_the_more_convex_region_wins() -> None:
    shape = (80, 160)
    compact = disc(shape, 125, 40, 22)
    star = np.zeros(shape, np.uint8)
    corners = [(40 + (34 if k % 2 else 13) * np.cos(k * np.pi / 5), 40 + (34 if k % 2 else 13) * np.sin(k * np.pi / 5))
               for k in range(10)]  # fmt: skip
    cv2.fillPoly(star, [np.array(corners, np.int32)], 1)
    image = painted(ground(*shape), compact | (star > 0))
    found = foreground_point(image, (0, 0, 160, 80))
    assert is_on(compact, found.x, found.y)
    assert abs(found.x - 125) < 2
    assert abs(found.y - 40) < 2
    chosen = next(region for region in found.candidates if region.label == found.chosen)
    assert chosen.convexity == max(region.convexity for region in found.candidates if region.large_enough)


def test_small_regions_are_no_candidates_however_convex() -> None:
    shape = (100, 100)
    bent = np.zeros(shape, np.bool_)
    bent[20:80, 20:35] = bent[65:80, 20:80] = True
    speck = np.zeros(shape, np.bool_)
    speck[30:38, 60:68] = True
    image = painted(ground(*shape), bent | speck)
    assert is_on(bent, *_at(foreground_point(image, (10, 10, 90, 90))))
    options = PointOptions(least_share=0.0, marker_level=0.3)
    assert is_on(speck, *_at(foreground_point(image, (10, 10, 90, 90), options)))


def test_low_contrast_is_enough() -> None:
    thing = disc((80, 80), 30, 45, 18)
    colour = tuple(value + 9 for value in GROUND)
    image = painted(ground(80, 80), thing, colour, noise=2)
    found = foreground_point(image, (5, 20, 75, 75))
    assert is_on(thing, found.x, found.y)


def test_an_object_that_fills_its_box_is_not_taken_for_the_ground() -> None:
    block = disc((60, 60), 30, 30, 36)  # all but the corners, and most of the border
    image = painted(ground(60, 60), block)
    assert is_on(block, *_at(foreground_point(image, (0, 0, 60, 60))))
    by_border = foreground_point(image, (0, 0, 60, 60), PointOptions(foreground="border"))
    assert not is_on(block, by_border.x, by_border.y)


@pytest.mark.parametrize("box", [(10, 10, 17, 40), (10.2, 10.9, 10.3, 11.0), (10, 10, 11, 11), (20, 20, 20, 20)])
def test_tiny_boxes_have_their_centre(box: tuple[float, ...]) -> None:
    image = painted(ground(50, 50), disc((50, 50), 12, 12, 6))
    found = foreground_point(image, box)
    assert (found.x, found.y) == ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    assert "narrower than 8 px" in found.reason
    assert found.foreground is None
    assert found.chosen == 0


def test_a_uniform_box_has_its_centre() -> None:
    found = foreground_point(ground(60, 60), (10, 20, 50, 60))
    assert (found.x, found.y) == (30, 40)
    assert "one colour" in found.reason


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ((-40, -30, 30, 30), (0, 0, 30, 30)),
        ((40, 40, 900, 900), (40, 40, 60, 60)),
        ((-9, 70, -2, 90), (0, 60, 0, 60)),
        ((100, 100, 200, 200), (60, 60, 60, 60)),
    ],
)
def test_boxes_over_the_border_give_points_in_the_image(
    box: tuple[float, ...], inside: tuple[float, float, float, float]
) -> None:
    image = painted(ground(60, 60), disc((60, 60), 20, 20, 12) | disc((60, 60), 50, 50, 8))
    found = foreground_point(image, box)
    assert inside[0] <= found.x <= inside[2]
    assert inside[1] <= found.y <= inside[3]


def test_large_boxes_are_looked_at_small() -> None:
    thing = disc((900, 1200), 420, 500, 300)
    image = painted(ground(900, 1200), thing, noise=4)
    found = foreground_point(image, box_of(thing))
    assert found.foreground is not None
    assert max(found.foreground.shape) == 256
    assert abs(found.x - 420) < 6
    assert abs(found.y - 500) < 6


def test_the_steps_fit_together() -> None:
    things = disc((80, 120), 30, 40, 20) | disc((80, 120), 80, 40, 25)
    found = foreground_point(painted(ground(80, 120), things, noise=3), (0, 10, 120, 70))
    assert found.regions is not None
    assert found.foreground is not None
    assert found.regions.shape == found.foreground.shape == (found.window.height, found.window.width) == (60, 120)
    assert {region.label for region in found.candidates} == set(np.unique(found.regions)) - {0}
    for region in found.candidates:
        assert region.area == (found.regions == region.label).sum()
        assert 0 < region.convexity <= 1
    assert found.foreground[found.regions > 0].all()


def test_it_is_the_same_whatever_ran_before() -> None:
    image = painted(ground(120, 120), disc((120, 120), 60, 50, 35), noise=25)
    first = foreground_point(image, (15, 5, 110, 100))
    cv2.setRNGSeed(12345)
    cv2.kmeans(np.random.default_rng(0).random((50, 2), np.float32), 3, None, (3, 5, 0.1), 4, 0)
    second = foreground_point(image, (15, 5, 110, 100))
    assert (first.x, first.y, first.reason) == (second.x, second.y, second.reason)
    np.testing.assert_array_equal(first.regions, second.regions)


@settings(max_examples=80, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    corners=st.tuples(*[st.floats(-30, 100)] * 4),
    seed=st.integers(0, 5),
    options=st.sampled_from(
        [PointOptions(), PointOptions(foreground="border", median=1, opening=1, longest_side=16, smallest_box=0)]
    ),
)
def test_the_point_is_always_in_the_box_and_in_the_image(
    height: int, width: int, corners: tuple[float, ...], seed: int, options: PointOptions
) -> None:
    x0, x1 = sorted(corners[:2])
    y0, y1 = sorted(corners[2:])
    noise = np.random.default_rng(seed)
    image = cv2.resize(
        noise.integers(0, 256, (4, 4, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
    )
    found = foreground_point(image, (x0, y0, x1, y1), options)
    for place, low, high, size in ((found.x, x0, x1, width), (found.y, y0, y1, height)):
        assert 0 <= place <= size
        if low < size and high > 0:  # the box and the image have something in common
            assert max(low, 0) - 1e-9 <= place <= min(high, size) + 1e-9


@pytest.mark.parametrize("field", [{"median": 0}, {"samples": 3}, {"marker_level": 1.0}, {"colour": "rgb"}])
def test_choices_that_make_no_sense_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PointOptions(**field)


def _at(found: ForegroundPoint) -> tuple[float, float]:
    return found.x, found.y
