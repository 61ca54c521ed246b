"""How long a run lasts, and what happens at which step."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

from refersat.training.recipe import OptimizerOptions, Recipe, Span, Stage


@dataclass(frozen=True)
class Schedule:
    """A recipe's lengths in steps.

    Attributes:
        stages: one after the other, each with its `steps`.
        optimizer: what decides the learning rate.
        dropped: steps at the end with the rate of `optimizer.drop`.
        validate_every, save_every: steps.
        samples: how many make an epoch; None where there are no epochs.
    """

    stages: tuple[Stage, ...]
    optimizer: OptimizerOptions
    dropped: int
    validate_every: int
    save_every: int
    samples: int | None

    @classmethod
    def of(cls, recipe: Recipe, samples: int | None) -> Schedule:
        """The schedule of a recipe on so many samples; None where phrases are generated without an end."""
        stages = tuple(
            stage.model_copy(update={"steps": _steps(stage, samples, stage.batch_size), "epochs": None})
            for stage in recipe.stages
        )
        last = stages[-1].batch_size
        drop = recipe.optimizer.drop
        validate_every = _steps(recipe.validate_every, samples, last)
        return cls(
            stages=stages,
            optimizer=recipe.optimizer,
            dropped=0 if drop is None else _steps(drop, samples, last),
            validate_every=validate_every,
            save_every=validate_every if recipe.save_every is None else _steps(recipe.save_every, samples, last),
            samples=samples,
        )

    @property
    def steps(self) -> int:
        """Steps of all stages together."""
        return sum(stage.steps or 0 for stage in self.stages)

    @property
    def views(self) -> int:
        """Views of all steps together."""
        return self.views_before(self.steps)

    def stage_at(self, step: int) -> Stage:
        """The stage that a step (from 0) belongs to."""
        for stage in self.stages:
            if step < (stage.steps or 0):
                return stage
            step -= stage.steps or 0
        return self.stages[-1]

    def views_before(self, step: int) -> int:
        """How many views the steps before this one (from 0) show."""
        views = 0
        for stage in self.stages:
            taken = min(step, stage.steps or 0)
            views += taken * stage.batch_size
            step -= taken
        return views

    def rate(self, step: int) -> float:
        """Learning rate of a step (from 0): linear warm-up, constant, linear down to nothing; less in the drop.

        Stages that train one part alone rise and fall by themselves.
        """
        options, steps = self.optimizer, self.steps
        course = self.course(step)
        rising = (step - course.start + 1) / max(1, options.warm_up)
        falling = (course.stop - step) / max(1.0, options.cool_down * len(course))
        rate = options.learning_rate * min(1.0, rising, falling)
        if options.drop is not None and step >= steps - self.dropped:
            return rate * options.drop.factor
        return rate

    def course(self, step: int) -> range:
        """The steps around this one (from 0) in which the same is trained, by the same kind of batches."""
        start = 0
        for _, stages in groupby(self.stages, key=lambda stage: (stage.only, stage.once)):
            course = range(start, start + sum(stage.steps or 0 for stage in stages))
            if step in course:
                return course
            start = course.stop
        return range(start, step + 1)

    def validates_after(self, done: int) -> bool:
        """Whether the model is measured when this many steps are done."""
        return done % self.validate_every == 0 or done == self.steps

    def saves_after(self, done: int) -> bool:
        """Whether the state is saved when this many steps are done."""
        return done % self.save_every == 0 or done == self.steps


def _steps(span: Span, samples: int | None, batch_size: int) -> int:
    if span.steps is not None:
        return span.steps
    assert span.epochs is not None and samples is not None  # the recipe sees to both
    return max(1, round(span.epochs * samples / batch_size))
