"""What a run finds out before its first step: which loss terms its data can give, stage by stage."""

from __future__ import annotations

from pathlib import Path

import pytest

from refersat.training.loop import train
from refersat.training.setup import OUTLINE_TERMS, set_up
from tests.training.runs import MakeRecipe, log_of

TERMS = {
    "cross_entropy", "dice", "coarse", "boundary", "presence", "pseudo_mask", "categories", "candidates",
    "candidate_dice", "edges", "named",
}  # fmt: skip
STAGE = {"steps": 2, "image_size": 32, "batch_size": 2}


def test_a_stage_may_have_a_loss_of_its_own(make_recipe: MakeRecipe) -> None:
    setup = set_up(make_recipe(loss={"dice": 3.0}, stages=[STAGE, {**STAGE, "loss": {"candidate_dice": 2.0}}]))
    first, second = (setup.loss_of(stage) for stage in setup.schedule.stages)
    assert (first.dice, first.candidate_dice) == (3.0, 0.0)
    assert (second.dice, second.candidate_dice) == (1.0, 2.0)
    assert (setup.loss.dice, setup.loss.candidate_dice) == (3.0, 2.0)


def test_samples_without_outlines_cannot_teach_what_needs_them(make_sample_recipe: MakeRecipe) -> None:
    setup = set_up(make_sample_recipe(stages=[{**STAGE, "loss": {"candidate_dice": 2.0}}]))
    for loss in (setup.loss, setup.loss_of(setup.schedule.stages[0])):
        assert {getattr(loss, name) for name in OUTLINE_TERMS} == {0.0}
        assert loss.cross_entropy > 0


def test_a_term_that_a_later_stage_brings_is_trained_from_then_on(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    late = {**STAGE, "loss": {"candidate_dice": 1.0, "coarse": 2.0}}
    train(make_recipe(loss={"coarse": 0.0}, stages=[STAGE, late], validate_every=4), tmp_path / "run")
    steps = [line for line in log_of(tmp_path / "run") if "loss" in line]
    assert ["candidate_dice" in step for step in steps] == [False, False, True, True]
    weights = {"cross_entropy": 5, "presence": 0.5, "coarse": 2, "boundary": 0.2, "named": 0.5, "edges": 0.1}
    last = {name: weights.get(name, 1) * value for name, value in steps[-1].items() if name in TERMS}
    assert steps[-1]["loss"] == pytest.approx(sum(last.values()), rel=1e-5)
