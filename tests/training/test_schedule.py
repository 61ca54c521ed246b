"""Schedules: what happens at which step."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from refersat.training.recipe import Drop, OptimizerOptions, Recipe, Stage
from refersat.training.schedule import Schedule

MakeRecipe = Callable[..., Recipe]


def schedule_of(options: OptimizerOptions, steps: int, *, dropped: int = 0) -> Schedule:
    return Schedule((Stage(steps=steps, image_size=32, batch_size=1),), options, dropped, 1, 1, None)


def test_learning_rate_warms_up_and_decays() -> None:
    schedule = schedule_of(OptimizerOptions(learning_rate=1.0, warm_up=4, cool_down=0.5), 20)
    rates = [schedule.rate(step) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:11] == [1.0] * 7
    assert rates[10:] == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    assert schedule_of(OptimizerOptions(learning_rate=1.0, warm_up=0, cool_down=0.0), 1).rate(0) == 1.0


def test_the_rate_drops_at_the_end() -> None:
    options = OptimizerOptions(learning_rate=1.0, warm_up=0, cool_down=0, drop=Drop(steps=2, factor=0.1))
    schedule = schedule_of(options, 6, dropped=2)
    assert [schedule.rate(step) for step in range(6)] == [1.0, 1.0, 1.0, 1.0, 0.1, 0.1]


def test_a_stage_that_trains_one_part_alone_rises_and_falls_by_itself() -> None:
    whole, alone = (
        Stage(steps=6, image_size=32, batch_size=1),
        Stage(steps=8, image_size=32, batch_size=1, only="selection"),
    )
    options = OptimizerOptions(learning_rate=1.0, warm_up=2, cool_down=0.5)
    schedule = Schedule((whole, whole, alone), options, 0, 1, 1, None)
    rates = [schedule.rate(step) for step in range(20)]
    assert rates[:12] == [schedule_of(options, 12).rate(step) for step in range(12)]
    assert rates[12:] == [schedule_of(options, 8).rate(step) for step in range(8)]


def test_stages_follow_each_other(make_recipe: MakeRecipe) -> None:
    stages = [{"steps": 10, "image_size": 64, "batch_size": 4}, {"steps": 5, "image_size": 128, "batch_size": 2}]
    schedule = Schedule.of(make_recipe(stages=stages), None)
    assert schedule.steps == 15
    assert [schedule.stage_at(step).image_size for step in (0, 9, 10, 14, 15)] == [64, 64, 128, 128, 128]
    assert [schedule.views_before(step) for step in (0, 1, 10, 11, 15)] == [0, 4, 40, 42, 50]
    assert schedule.views == 50


def test_epochs_are_passes_through_the_samples(make_sample_recipe: MakeRecipe) -> None:
    recipe = make_sample_recipe(
        stages=[{"epochs": 1.5, "image_size": 32, "batch_size": 4}, {"epochs": 2, "image_size": 32, "batch_size": 2}],
        optimizer={"drop": {"epochs": 1}},
        validate_every={"epochs": 0.5},
        save_every=3,
    )
    schedule = Schedule.of(recipe, 40)
    assert [stage.steps for stage in schedule.stages] == [15, 40]
    assert (schedule.dropped, schedule.validate_every, schedule.save_every) == (20, 10, 3)
    assert [done for done in range(1, 56) if schedule.validates_after(done)] == [10, 20, 30, 40, 50, 55]
    assert [done for done in range(1, 10) if schedule.saves_after(done)] == [3, 6, 9]


def test_the_state_is_saved_with_each_validation_unless_told(make_recipe: MakeRecipe) -> None:
    assert Schedule.of(make_recipe(validate_every=7), None).save_every == 7


def test_a_short_epoch_is_a_step_at_least(make_sample_recipe: MakeRecipe) -> None:
    assert Schedule.of(make_sample_recipe(stages=[{"epochs": 1, "image_size": 32, "batch_size": 8}]), 1).steps == 1
