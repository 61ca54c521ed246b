"""The sheets: a panel for each step that was taken, and pictures that show what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from refersat.explain.one_stage import one_stage_panels
from refersat.explain.sheet import explain
from refersat.explain.two_stages import two_stage_panels
from refersat.explain.view import SIDE, View
from refersat.imagery import read_image
from refersat.models.grounding.grounder import Grounded
from refersat.models.pslg.options import PslgOptions
from refersat.models.pslg.system import PslgSteps
from refersat.models.steps import RS2Sam2Steps
from refersat.result import Result
from tests.models.pslg.shapes import disc, ground, painted
from tests.models.pslg.test_system import system


@pytest.fixture
def tanks() -> NDArray[np.uint8]:
    things = disc((120, 200), 50, 60, 30) | disc((120, 200), 150, 60, 25)
    return painted(ground(120, 200, (40, 45, 40)), things, (230, 225, 220), noise=4)


def two_stages(
    tanks: NDArray[np.uint8], phrase: str = "the tank on the left", **options: Any
) -> tuple[Result, PslgSteps]:
    result = system(PslgOptions(**options))[0](tanks, phrase)
    assert isinstance(result.steps, PslgSteps)
    return result, result.steps


def test_every_step_has_a_panel(tanks: NDArray[np.uint8]) -> None:
    result, steps = two_stages(tanks)
    titles = [panel.title for panel in two_stage_panels(result, steps)]
    cuts = [title for title in titles if title.startswith("Boundary, cut")]
    assert steps.fine.boundary is not None
    assert len(cuts) == len(steps.fine.boundary.iterations) >= 1
    assert titles[:5] == ["Box, score 0.90", "Two colours", "Region", "Point", "SAM's mask"]
    assert titles[-1].startswith("Answer")
    details = " ".join(panel.detail for panel in two_stage_panels(result, steps))
    assert steps.fine.boundary.reason in details
    assert steps.fine.point is not None
    assert steps.fine.point.reason in details


def test_steps_that_were_switched_off_have_none(tanks: NDArray[np.uint8]) -> None:
    panels = two_stage_panels(*two_stages(tanks, use_point=False, use_boundary=False))
    assert [panel.title for panel in panels] == ["Box, score 0.90", "SAM's mask", "Answer"]
    assert "switched off" in panels[-1].detail


def test_what_was_not_found_says_so(tanks: NDArray[np.uint8]) -> None:
    result, steps = two_stages(tanks, "the ship")
    panels = two_stage_panels(result, steps)
    assert panels[-1].title == "Answer: not found"
    assert "not there" in panels[0].detail
    assert explain(result).size[0] > 3 * SIDE


@pytest.mark.parametrize("box", [(0.1, 0.1, 0.102, 0.102), (0.0, 0.0, 0.0, 0.0), (0.9, 0.9, 1.0, 1.0)])
def test_boxes_of_any_kind_can_be_drawn(
    tanks: NDArray[np.uint8], box: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    ask, grounder, _ = system()
    monkeypatch.setattr(grounder, "ground", lambda *_: Grounded(torch.tensor([box]), torch.tensor([0.8])))
    assert explain(ask(tanks, "it")).height > SIDE // 2


def one_stage(tanks: NDArray[np.uint8], steps: RS2Sam2Steps | None) -> Result:
    probability = (tanks.mean(axis=2) / 255).astype(np.float32)
    mask = probability > 0.5
    image = read_image(tanks)
    return Result(image, "the tanks", "fake", mask, probability, 0.7, True, 0.1, steps)


def test_one_stage_shows_what_it_has(tanks: NDArray[np.uint8]) -> None:
    hints = RS2Sam2Steps(np.eye(10, dtype=np.float32), np.eye(16, dtype=np.float32))
    result = one_stage(tanks, hints)
    titles = [panel.title for panel in one_stage_panels(result, hints)]
    assert titles == ["Image", "Candidates", "Pseudo-mask", "Probability", "Answer"]
    bare = one_stage(tanks, None)
    assert [panel.title for panel in one_stage_panels(bare, None)] == ["Image", "Probability", "Answer"]
    assert bare.explain().width == 3 * (SIDE + 20) + 20


def test_likely_pixels_are_brighter(tanks: NDArray[np.uint8]) -> None:
    result = one_stage(np.full_like(tanks, 100), None)
    result.probability[:] = 0.05
    result.probability[:, :100] = 0.95
    heat = next(panel for panel in one_stage_panels(result, None) if panel.title == "Probability").picture
    middle = heat.shape[1] // 2
    assert heat[:, : middle - 9].mean() > 2 * heat[:, middle + 9 :].mean()


def test_a_view_finds_its_places(tanks: NDArray[np.uint8]) -> None:
    view = View(tanks, (40, 20, 140, 70))
    assert view.picture.shape == (SIDE // 2, SIDE, 3)
    before = view.picture.copy()
    view.point(90, 45, (1, 2, 3))
    assert tuple(view.picture[SIDE // 4, SIDE // 2]) == (1, 2, 3)
    changed = (view.picture != before).any(axis=2)
    assert changed.sum() < 500
    mask = np.zeros((120, 200), bool)
    mask[20:70, 40:90] = True
    np.testing.assert_array_equal(view.of_image(mask)[:, : SIDE // 2], True)
    np.testing.assert_array_equal(view.of_image(mask)[:, SIDE // 2 :], False)
