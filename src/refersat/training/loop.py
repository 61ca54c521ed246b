"""The training loop: one file to read in a sitting.

Start it with `refersat train`, or `torchrun --nproc-per-node N -m refersat train` for N processes or devices.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from refersat.errors import UserError
from refersat.models.optimized.compiled import check_compiler
from refersat.output import write_file
from refersat.training.batch import AnyBatch
from refersat.training.checkpoints import Learner
from refersat.training.courses import Courses
from refersat.training.curves import draw_curves
from refersat.training.data_files import files_of, fingerprint
from refersat.training.devices import Devices, crowded, slow_precision
from refersat.training.facts import facts_of
from refersat.training.interruption import Stopped, StopRequest
from refersat.training.journal import Journal
from refersat.training.parameters import MovingAverage
from refersat.training.parts import summaries
from refersat.training.recipe import Recipe
from refersat.training.run_folder import RunFolder
from refersat.training.setup import set_up
from refersat.training.step import gradients, make_optimizer, make_trainee, move, set_rate
from refersat.training.summary import parts_table

Report = Callable[[int, dict[str, float]], None]
Tell = Callable[[str], None]


def train(
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    report: Report = lambda step, values: None,
    tell: Tell = lambda line: None,
) -> Path:
    """Run a recipe and return the folder of the trained model: the best one, or the last where nothing was measured.

    Losses and scores are those of all processes together.

    Args:
        recipe: what to do.
        out: what `RunFolder` describes.
        resume: go on from the state in `out`, as if the run had never stopped.
        report: called by the main process with the number of steps done, the latest loss, the speed and all steps.
        tell: called by the main process with lines for people: what the weights start from, and scores.

    Raises:
        UserError: the data or weights cannot be read, the recipe describes no possible model or wants what cannot be
            compiled here, `out` holds a run already and `resume` is False, or none and it is True, the disk is full, or
            the loss is no longer a number.
        Stopped: Ctrl-C or SIGTERM came; the state is saved.
    """
    # What can be wrong is found before anything is written.
    devices = Devices(recipe)
    setup = set_up(recipe)
    if recipe.optimizer.compiled:
        check_compiler(devices.device)
    schedule, folder = setup.schedule, RunFolder(out, recipe.keep)
    resume = folder.check(resume=resume)
    devices.accelerator.wait_for_everyone()
    if devices.main and not resume:
        folder.begin(recipe)
    with devices.accelerator.main_process_first():
        tokenizer = setup.tokenizer(folder.tokenizer, new=devices.main and not resume)

    data_files = fingerprint(files_of(setup)) if devices.main else ""
    trainee = make_trainee(setup, devices, tokenizer.vocab_size)
    model = trainee.model
    told = parts_table(summaries(model, dict(setup.start.origins)), recipe) if devices.main else []
    told += slow_precision(recipe, devices.device) + crowded(devices.device)
    prepared = devices.prepare(trainee)
    optimizer = make_optimizer(trainee, recipe, fused=devices.fuses)
    average = MovingAverage(model, recipe.optimizer.average)
    learner = Learner(trainee, optimizer, average)
    prepared.train()

    step, best, measured, stopping = 0, -math.inf, 0, False
    changed: list[str] = []
    if resume:
        state = folder.checkpoints.load()
        if state["step"] > schedule.steps:
            raise UserError(f"{state['step']} steps are done, and the recipe has {schedule.steps}: lengthen its stages")
        learner.load(state)
        step, best, measured = state["step"], state["best"], state["measured"]
        if devices.main:
            changed = folder.go_on(recipe, step)
            changed += ["(the lists of the data)"] if state["data"] != setup.fingerprint else []
            changed += ["(the files of the data)"] if state.get("files", data_files) != data_files else []
    if devices.main:
        journal = Journal(folder, tensorboard=recipe.tensorboard, done=step)
        facts = facts_of(setup, data_files, devices)
        for line in told:
            tell(line)
        if resume:
            tell(_gone_on(step, schedule.steps, changed))
            journal.note(step, resumed=True, recipe_changed=changed)

    def measure() -> bool:
        """Score the model as it is now, and keep it; False where a stop was asked for before that was done."""
        nonlocal best, measured
        image_size = schedule.stage_at(step - 1).image_size
        with average.in_place(model), devices.whole_model(model) as whole:
            scores = setup.task.validate(devices, whole, tokenizer, setup.validation, image_size, request.check)
            if setup.validation and devices.anywhere(request.made):
                return False
            found: float | None = scores.get("mIoU")  # None where all that is measured names nothing
            score = -math.inf if found is None else found
            if devices.main:
                shown = setup.validation if recipe.tensorboard else []
                journal.validation(step, scores, setup.task.pictures(devices, whole, tokenizer, shown))
                folder.save_model(whole, tokenizer, {**facts, "step": step, "scores": scores}, best=score > best)
                tell(_told(step, scores))
        best, measured = max(best, score), step
        return True

    def save() -> None:
        """Keep all that is needed to go on."""
        state = {**learner.state(), "step": step, "best": best, "measured": measured}
        if devices.main:
            folder.checkpoints.save(step, {**state, "data": setup.fingerprint, "files": data_files})

    request = StopRequest(answers=devices.main)
    courses = Courses(setup, folder, tokenizer, trainee, average, devices, request, tell)
    began = time.perf_counter()
    with request:
        if measured < step and schedule.validates_after(step):  # the stop came first
            stopping = not measure()
            save()
        for batches in () if stopping else courses.batches(step):
            stage, rate = schedule.stage_at(step), schedule.rate(step)
            trainee.weights = setup.loss_of(stage)
            set_rate(optimizer, rate)
            numbers, phrases = gradients(devices, prepared, trainee, batches, recipe)
            if not (math.isfinite(numbers["loss"]) and math.isfinite(numbers["gradient"])):
                raise UserError(_not_a_number(numbers["loss"], numbers["gradient"], step + 1, batches, folder))
            move(learner)
            step += 1

            seconds = time.perf_counter() - began
            began = time.perf_counter()
            if devices.main:
                journal.step(step, {**numbers, "rate": rate, "seconds": seconds})
                journal.phrases(step, phrases)
                speed = stage.batch_size / seconds
                report(step, {"loss": numbers["loss"], "views/s": speed, "steps": schedule.steps})

            stopping = devices.anywhere(request.made) and step < schedule.steps  # asking one process stops all
            if not stopping and schedule.validates_after(step):
                stopping = not measure()
            if stopping or schedule.saves_after(step):
                save()
            if stopping:
                break
            if measured == step:
                devices.accelerator.wait_for_everyone()
                began = time.perf_counter()
        if step < schedule.steps and not stopping:  # asked for before the model was to see what it learns from
            stopping = True
            save()
    devices.accelerator.wait_for_everyone()
    if devices.main:
        journal.close()
        picture = draw_curves(folder.log, name=recipe.name)
        if picture is not None:
            write_file(folder.curves, picture)
    devices.accelerator.end_training()
    if stopping:
        raise Stopped(f"stopped after {step} of {schedule.steps} steps")
    return folder.best if folder.best.is_dir() else folder.model


def _not_a_number(loss: float, gradient: float, step: int, batches: tuple[AnyBatch, ...], folder: RunFolder) -> str:
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the gradient is {gradient}"
    shown = "; ".join(line for batch in batches for line in batch.told())
    saved = folder.checkpoints.steps()
    kept = f"; the state after step {saved[-1]} is kept" if saved else ""
    return f"{what} at step {step}: try a lower optimizer.learning_rate{kept}. The batch was: {shown}"


def _gone_on(step: int, steps: int, changed: Sequence[str]) -> str:
    if step == steps:
        return f"all {steps} steps are done: nothing is left to train"
    return f"going on after step {step} of {steps}" + (f"; changed: {', '.join(changed)}" if changed else "")


def _told(step: int, scores: Mapping[str, Any]) -> str:
    measures = [f"{name} {scores[name]:.2f}" for name in ("mIoU", "oIoU", "cumIoU") if scores.get(name) is not None]
    return f"step {step}: " + (f"{', '.join(measures)}, {scores['count']} phrases" if measures else "model saved")
