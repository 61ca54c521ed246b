"""The boundary moves to where the colours change, only within its bounds, and otherwise not by a pixel."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydantic import ValidationError

from refersat.models.pslg.boundary import BoundaryOptions, refine_boundary
from tests.models.pslg.shapes import disc, ground, overlap, painted


def grown(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """By a radius, or smaller by a negative one."""
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(radius) + 1,) * 2)
    change = cv2.dilate if radius > 0 else cv2.erode
    return np.asarray(change(mask.astype(np.uint8), element) > 0)


def drawn_cases() -> list[tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]]:
    """Image, truth, and a mask as SAM might make it: blunt corners, too large, too small, or beside it."""
    cases = []
    for seed in range(12):
        choice = np.random.default_rng(seed)
        height, width = (int(side) for side in choice.integers(70, 160, 2))
        centre = width * choice.uniform(0.35, 0.65), height * choice.uniform(0.35, 0.65)
        truth = disc((height, width), *centre, min(height, width) * choice.uniform(0.2, 0.3))
        if seed % 3 == 1:
            truth &= ~disc((height, width), *centre, min(height, width) * 0.1)
        if seed % 3 == 2:
            truth[:, : int(centre[0])] = False
        colour = tuple(int(value) for value in choice.integers(120, 255, 3))
        image = painted(ground(height, width), truth, colour, noise=6, seed=seed)
        masks = {0: grown(truth, 2), 1: grown(truth, -2), 2: np.roll(truth, (2, 1), (0, 1)), 3: truth}
        cases.append((image, truth, masks[seed % 4]))
    return cases


def test_a_mask_that_is_too_large_shrinks_to_the_object() -> None:
    truth = disc((120, 120), 60, 55, 35)
    image = painted(ground(120, 120), truth, noise=5)
    rough = grown(truth, 2)
    done = refine_boundary(image, rough, BoundaryOptions(radius=0.05))
    assert done.accepted
    assert overlap(done.mask, truth) > 0.95 > 0.9 > overlap(rough, truth)
    assert 1 <= len(done.iterations) <= 5
    assert done.ratio < 1
    assert done.gain > 1.3


def test_on_drawn_shapes_it_never_makes_things_worse_on_average() -> None:
    before, after, moved = [], [], 0
    for image, truth, rough in drawn_cases():
        done = refine_boundary(image, rough)
        before.append(overlap(rough, truth))
        after.append(overlap(done.mask, truth))
        moved += done.accepted
    assert np.mean(after) > np.mean(before) + 0.02
    assert moved >= 6
    assert min(np.subtract(after, before)) > -0.02


def test_on_striped_ground_the_colours_decide_though_edges_are_everywhere() -> None:
    truth = disc((120, 120), 60, 55, 35)
    striped = ground(120, 120)
    striped[np.arange(120) // 3 % 2 == 0] += np.uint8(90)
    image = painted(striped, truth, noise=5)
    rough = grown(truth, 2)
    done = refine_boundary(image, rough, BoundaryOptions(radius=0.05))
    assert 1 < done.gain < 1.3
    assert done.accepted
    assert overlap(done.mask, truth) > overlap(rough, truth) + 0.03


def test_a_mask_that_touches_the_border_stays_there() -> None:
    truth = np.zeros((80, 100), np.bool_)
    truth[:50, 40:] = True
    image = painted(ground(80, 100), truth, noise=4)
    rough = np.zeros_like(truth)
    rough[:53, 37:] = True
    done = refine_boundary(image, rough, BoundaryOptions(radius=0.06))
    assert done.accepted
    assert overlap(done.mask, truth) > 0.95 > overlap(rough, truth) + 0.05
    assert done.mask[0, 45:].all()
    assert done.mask[:45, -1].all()


def test_what_bounds_it_refuses_and_says_so() -> None:
    truth = disc((120, 120), 60, 60, 40)
    image = painted(ground(120, 120), truth)
    rough = grown(truth, 4)
    reach = {"radius": 0.2}
    assert refine_boundary(image, rough, BoundaryOptions(**reach)).accepted
    for bound, reason in (
        ({"least_iou": 0.95}, "IoU 0.9"),
        ({"least_ratio": 0.9}, "times SAM's area is not 0.9 to 1.4"),
        ({"least_gain": 100.0}, "times the contrast along SAM's boundary"),
        ({"least_parting": 100.0}, "deviations further apart, not 100"),
    ):
        done = refine_boundary(image, rough, BoundaryOptions(**reach, **bound))
        assert not done.accepted
        assert done.reason.startswith("refused")
        assert reason in done.reason
        assert done.mask is rough
        assert done.iterations


def test_a_mask_that_sam_is_not_sure_of_is_left_alone() -> None:
    truth = disc((120, 120), 60, 60, 40)
    image, rough = painted(ground(120, 120), truth), grown(truth, 2)
    assert refine_boundary(image, rough, BoundaryOptions(radius=0.05), stability=0.85).accepted
    done = refine_boundary(image, rough, BoundaryOptions(radius=0.05), stability=0.84)
    assert (done.accepted, done.iterations) == (False, ())
    assert done.mask is rough
    assert done.reason == "refused: stability 0.84 of SAM's mask is below 0.85"


@pytest.mark.parametrize("pixels", [0, 1, 15])
def test_empty_and_tiny_masks_are_left_alone(pixels: int) -> None:
    mask = np.zeros((40, 40), np.bool_)
    mask.flat[800 : 800 + pixels] = True
    done = refine_boundary(ground(40, 40), mask)
    assert (done.accepted, done.iterations, done.window) == (False, (), None)
    assert done.mask is mask
    assert "fewer than 16 px" in done.reason


def test_a_mask_of_everything_is_left_alone() -> None:
    done = refine_boundary(ground(30, 40), np.ones((30, 40), np.bool_))
    assert not done.accepted
    assert "no background" in done.reason


def test_a_uniform_image_gives_no_reason_to_move() -> None:
    mask = disc((60, 60), 30, 30, 15)
    done = refine_boundary(ground(60, 60), mask)
    assert not done.accepted
    np.testing.assert_array_equal(done.mask, mask)


def test_large_masks_are_cut_small_and_change_only_near_their_boundary() -> None:
    truth = disc((900, 1100), 560, 430, 350)
    image = painted(ground(900, 1100), truth, noise=4)
    rough = grown(truth, 9)
    done = refine_boundary(image, rough)
    assert done.sure is not None
    assert max(done.sure.shape) == 256
    assert done.accepted
    assert overlap(done.mask, truth) > overlap(rough, truth) + 0.02
    changed = done.mask != rough
    assert not changed[grown(rough, -24)].any()
    assert not changed[~grown(rough, 24)].any()


def test_it_stops_when_the_mask_stays() -> None:
    truth = disc((120, 120), 60, 60, 40)
    image = painted(ground(120, 120), truth)
    done = refine_boundary(image, grown(truth, 1))
    assert done.iterations[-1].iou >= 0.995
    assert all(iteration.iou < 0.995 for iteration in done.iterations[:-1])
    once = refine_boundary(image, grown(truth, 1), BoundaryOptions(iterations=1))
    assert len(once.iterations) == 1


def test_it_is_the_same_whatever_ran_before() -> None:
    truth = disc((120, 120), 60, 60, 40)
    image = painted(ground(120, 120), truth, (110, 120, 100), noise=20)
    first = refine_boundary(image, grown(truth, 2))
    cv2.setRNGSeed(999)
    cv2.randu(np.zeros(9), 0, 1)
    second = refine_boundary(image, grown(truth, 2))
    np.testing.assert_array_equal(first.iterations[-1].mask, second.iterations[-1].mask)
    assert (first.gain, first.reason) == (second.gain, second.reason)


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    seed=st.integers(0, 50),
    level=st.floats(-1, 1),
    options=st.sampled_from(
        [
            BoundaryOptions(),
            BoundaryOptions(least_gain=0, least_parting=-1000, radius=0.1, longest_side=32),
            BoundaryOptions(
                least_gain=0, least_parting=-1000, least_iou=0, least_ratio=0, greatest_ratio=9, radius=0.5
            ),
        ]
    ),
)
def test_refused_is_unchanged_and_accepted_is_within_bounds(
    height: int, width: int, seed: int, level: float, options: BoundaryOptions
) -> None:
    noise = np.random.default_rng(seed)
    size = (width, height)
    image = cv2.resize(noise.integers(0, 256, (5, 5, 3), dtype=np.uint8), size, interpolation=cv2.INTER_CUBIC)
    mask = cv2.resize(noise.normal(size=(4, 4)), size, interpolation=cv2.INTER_CUBIC) > level
    given_mask = mask.copy()
    done = refine_boundary(image, mask, options)
    np.testing.assert_array_equal(mask, given_mask)
    assert done.mask.shape == mask.shape
    assert done.mask.dtype == np.bool_
    if not done.accepted:
        np.testing.assert_array_equal(done.mask, given_mask)
        return
    assert overlap(done.mask, mask) >= options.least_iou
    assert overlap(done.mask, mask) == pytest.approx(done.iou)
    assert options.least_ratio <= done.mask.sum() / mask.sum() <= options.greatest_ratio
    assert done.gain >= options.least_gain
    assert done.parting >= options.least_parting
    assert len(done.iterations) <= options.iterations


@pytest.mark.parametrize("field", [{"least_ratio": 1.2}, {"greatest_ratio": 0.5}, {"iterations": 0}, {"speed": 1}])
def test_choices_that_make_no_sense_are_refused(field: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        BoundaryOptions(**field)
