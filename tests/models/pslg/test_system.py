"""The two stages together: each network sees an image once, and every step reaches the answer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from refersat.imagery import read_image
from refersat.models.pslg.boundary import BoundaryOptions
from refersat.models.pslg.options import PslgOptions
from refersat.models.pslg.system import PslgSam, PslgSteps
from refersat.models.torch_backend import TorchBackend
from refersat.result import Result
from refersat.segmenter import Segmenter
from tests.models.pslg.shapes import disc, ground, overlap, painted
from tests.models.tiny_pslg import BoxesByPhrase, BrightSam

LEFT, RIGHT = disc((120, 200), 50, 60, 30), disc((120, 200), 150, 60, 25)
KNOWN = {
    "the tank on the left": ((0.09, 0.24, 0.41, 0.76), 0.9),
    "the tank on the right": ((0.61, 0.28, 0.89, 0.72), 0.6),
    "the ship": ((0.4, 0.0, 0.6, 0.2), 0.1),
}


@pytest.fixture
def tanks() -> NDArray[np.uint8]:
    return painted(ground(120, 200, (40, 45, 40)), LEFT | RIGHT, (230, 225, 220), noise=4)


def system(options: PslgOptions | None = None, *, cells: int = 32) -> tuple[Segmenter, BoxesByPhrase, BrightSam]:
    grounder, sam = BoxesByPhrase(KNOWN), BrightSam(cells)
    backend = TorchBackend(PslgSam(grounder, sam, options), device=torch.device("cpu"))
    return Segmenter(backend, name="two stages"), grounder, sam


def steps_of(result: Result) -> PslgSteps:
    assert isinstance(result.steps, PslgSteps)
    return result.steps


def test_phrases_find_their_own(tanks: NDArray[np.uint8]) -> None:
    ask, grounder, sam = system()
    results = ask.batch([tanks] * 3, list(KNOWN))
    assert [result.present for result in results] == [True, True, False]
    assert [result.score for result in results] == pytest.approx([0.9, 0.6, 0.1])
    assert overlap(results[0].mask, LEFT) > 0.85
    assert overlap(results[1].mask, RIGHT) > 0.85
    assert not results[2].mask.any()
    assert len(grounder.asked) == len(sam.images) == len(sam.prompts) == 1  # once for all three phrases
    assert ask.parameters == 7 + 9


def test_the_box_is_told(tanks: NDArray[np.uint8]) -> None:
    ask, _, _ = system()
    (answer,) = ask.probabilities([(read_image(tanks), "the tank on the left")])
    assert answer.boxes == (pytest.approx((18.0, 28.8, 82.0, 91.2), abs=1e-3),)


def test_sam_is_given_the_point(tanks: NDArray[np.uint8]) -> None:
    ask, _, sam = system()
    steps = steps_of(ask(tanks, "the tank on the right"))
    boxes, points = sam.prompts[0]
    torch.testing.assert_close(boxes, torch.tensor([KNOWN["the tank on the right"][0]]))
    assert points is not None
    assert steps.fine.point is not None
    torch.testing.assert_close(
        points[0] * torch.tensor([200.0, 120.0]), torch.tensor([steps.fine.point.x, steps.fine.point.y])
    )
    assert RIGHT[int(steps.fine.point.y), int(steps.fine.point.x)]
    assert steps.fine.box == pytest.approx((122, 33.6, 178, 86.4), abs=1e-3)


def test_both_steps_can_be_switched_off(tanks: NDArray[np.uint8]) -> None:
    ask, _, sam = system(PslgOptions(use_point=False, use_boundary=False))
    result = ask(tanks, "the tank on the left")
    steps = steps_of(result)
    assert sam.prompts[0][1] is None
    assert steps.fine.point is None
    assert steps.fine.boundary is None
    np.testing.assert_array_equal(result.mask, steps.fine.sam_mask)


def test_the_boundary_step_reaches_mask_and_probability(tanks: NDArray[np.uint8]) -> None:
    everything = BoundaryOptions(radius=0.08, least_gain=0, least_parting=-1000, least_stability=0)
    options = PslgOptions(boundary=everything)
    result = system(options, cells=16)[0](tanks, "the tank on the left")
    fine = steps_of(result).fine
    assert fine.boundary is not None
    assert fine.boundary.accepted
    np.testing.assert_array_equal(result.mask, fine.boundary.mask)
    np.testing.assert_array_equal(fine.mask, fine.boundary.mask)
    np.testing.assert_array_equal(result.probability > 0.5, result.mask)
    assert overlap(result.mask, LEFT) > overlap(fine.sam_mask, LEFT)
    kept = result.mask == fine.sam_mask
    plain = system(PslgOptions(use_boundary=False), cells=16)[0](tanks, "the tank on the left")
    np.testing.assert_allclose(result.probability[kept], plain.probability[kept], atol=1e-6)
    np.testing.assert_allclose(result.probability[~kept], 1 - plain.probability[~kept], atol=1e-3)


def test_masks_that_sam_is_not_sure_of_keep_their_boundary(tanks: NDArray[np.uint8]) -> None:
    options = PslgOptions(boundary=BoundaryOptions(least_stability=1))
    fine = steps_of(system(options, cells=16)[0](tanks, "the tank on the left")).fine
    narrow, wide = (int((fine.logits > level).sum()) for level in (1, -1))
    assert fine.boundary is not None
    assert fine.boundary.reason == f"refused: stability {narrow / wide:.2f} of SAM's mask is below 1"
    assert fine.mask is fine.sam_mask


@pytest.mark.parametrize(("threshold", "present"), [(None, False), (0.05, True), (0.1001, False)])
def test_the_score_decides_presence(tanks: NDArray[np.uint8], threshold: float | None, present: bool) -> None:
    ask, _, _ = system(PslgOptions(presence_threshold=threshold))
    bright = np.full_like(tanks, 250)
    assert ask(bright, "the ship").present is present


def test_a_batch_gives_what_one_by_one_gives(tanks: NDArray[np.uint8]) -> None:
    ask, _, _ = system()
    images = [tanks, np.ascontiguousarray(tanks[:, ::-1]), tanks, tanks[:70]]
    phrases = ["the tank on the left", "the tank on the right", "the ship", "the tank on the left"]
    for one, other in zip(
        [ask(image, phrase) for image, phrase in zip(images, phrases, strict=True)],
        ask.batch(images, phrases, batch_size=4),
        strict=True,
    ):
        np.testing.assert_array_equal(one.mask, other.mask)
        np.testing.assert_array_equal(one.probability, other.probability)
        assert one.score == other.score


@pytest.mark.parametrize("shape", [(1, 1), (1, 60), (300, 7)])
def test_images_of_any_size(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    ask, _, _ = system()
    assert ask(image, "the tank on the left").mask.shape == shape
