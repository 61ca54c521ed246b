"""The batches of a run, course by course: from images while the model learns to see, then from what it sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.text.phrases import Tokenizer
from refersat.training import drawn_views, seen
from refersat.training.batch import AnyBatch
from refersat.training.devices import Devices
from refersat.training.drawn_views import DrawnViews
from refersat.training.generated import PhraseSampler
from refersat.training.interruption import CutShort, StopRequest
from refersat.training.layout_sampler import LayoutSampler
from refersat.training.layouts import load, look, save
from refersat.training.parameters import MovingAverage
from refersat.training.recipe import Stage
from refersat.training.refiner_sampler import RefinerSampler
from refersat.training.run_folder import RunFolder
from refersat.training.setup import Setup
from refersat.training.stream import Sampler, Share, stream
from refersat.training.trainee import AnyTrainee

_TOLD = 10
"""How often it is told how much has been looked at."""


class Courses:
    """Makes the batches of a run.

    Args:
        setup: of the run.
        folder: of the run; keeps what was seen.
        tokenizer: of the phrases.
        trainee: what learns from the batches; at the beginning of a course it is asked what it sees.
        average: of its weights, with which it looks: they are what is used in the end.
        devices: of this process.
        request: that ends the batches where it comes while the model is asked what it sees.
        tell: called with lines for people.
    """

    def __init__(
        self,
        setup: Setup,
        folder: RunFolder,
        tokenizer: Tokenizer,
        trainee: AnyTrainee,
        average: MovingAverage,
        devices: Devices,
        request: StopRequest,
        tell: Callable[[str], None],
    ) -> None:
        self._setup = setup
        self._folder = folder
        self._tokenizer = tokenizer
        self._model = trainee.model
        self._average = average
        self._devices = devices
        self._request = request
        self._tell = tell

    def batches(self, step: int) -> Iterator[tuple[AnyBatch, ...]]:
        """This process's share of the batch of each step from this one (from 0) on.

        They end early where a stop is asked for before a course.

        Raises:
            UserError: what could not be read.
        """
        recipe, schedule = self._setup.recipe, self._setup.schedule
        share = Share(self._devices.rank, self._devices.processes, recipe.optimizer.accumulate)
        while step < schedule.steps:
            course = schedule.course(step)
            sampler = self._sampler(course, begun=step > course.start)
            if sampler is None:
                return
            yield from stream(sampler, schedule, share, steps=range(step, course.stop), workers=recipe.workers)
            step = course.stop

    def _sampler(self, course: range, *, begun: bool) -> Sampler | None:
        setup, devices = self._setup, self._devices
        sampler = setup.sampler(self._tokenizer, self._model.config)
        stage = setup.schedule.stage_at(course.start)
        if stage.once:
            return self._seen_sampler(stage, sampler)
        if stage.only is None:
            return sampler
        assert isinstance(sampler, PhraseSampler)
        if not begun:
            with suppress(CutShort):
                self._look(course, sampler)
            if devices.anywhere(self._request.made):
                return None
        seed = setup.recipe.seed
        if stage.only == "refiner":
            return RefinerSampler(DrawnViews(self._folder.drawn(course.start)), seed=seed)
        return LayoutSampler(load(self._folder.layouts(course.start), sampler), sampler, self._tokenizer, seed=seed)

    def _seen_sampler(self, stage: Stage, sampler: Sampler) -> Sampler:
        assert isinstance(sampler, PhraseSampler)
        devices, model = self._devices, self._model
        folder = self._setup.recipe.seen or self._folder.seen
        if devices.main:
            seen.look(
                model.eye,
                sampler,
                folder,
                count=stage.views,
                image_size=stage.image_size,
                precision=devices.precision(),
                advance=self._advance(stage),
            )
        devices.accelerator.wait_for_everyone()
        views = seen.load(model.eye, sampler, folder, count=stage.views, image_size=stage.image_size)
        return self._setup.task.seen_sampler(views, sampler, stage, model, self._tokenizer)

    def _advance(self, stage: Stage) -> Callable[[int], None]:
        def advance(done: int) -> None:
            self._request.check()
            if done * _TOLD // stage.views > (done - 1) * _TOLD // stage.views:
                self._tell(f"looked at {done:,} of {stage.views:,} views")

        return advance

    def _look(self, course: range, sampler: PhraseSampler) -> None:
        stage = self._setup.schedule.stage_at(course.start)
        with self._average.in_place(self._model), self._devices.whole_model(self._model) as model:
            if self._devices.main:
                assert isinstance(model, RS2Sam2Model)
                shared: Any = {
                    "count": stage.views,
                    "image_size": stage.image_size,
                    "precision": self._devices.precision(),
                    "advance": self._advance(stage),
                }
                if stage.only == "refiner":
                    folder, masks = self._folder.drawn(course.start), stage.phrases_per_view
                    drawn_views.look(model, sampler, self._tokenizer, folder, masks=masks, **shared)
                else:
                    save(look(model, sampler, **shared), self._folder.layouts(course.start))
