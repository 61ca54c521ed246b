"""The training loop: one file to read in a sitting.

Start it with `refersat train`, or `torchrun --nproc-per-node N -m refersat train` for N processes or devices.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from refersat.errors import UserError
from refersat.output import write_file
from refersat.training.batch import AnyBatch
from refersat.training.checkpoints import Learner
from refersat.training.courses import Courses
from refersat.training.curves import draw_curves
from refersat.training.data_files import files_of, fingerprint
from refersat.training.devices import Devices, choose_attention, crowded, slow_precision
from refersat.training.facts import facts_of
from refersat.training.interruption import Stopped, StopRequest
from refersat.training.journal import Journal, PhraseTerms, phrase_terms
from refersat.training.muon import Muon
from refersat.training.objective import Totals
from refersat.training.parameters import MovingAverage, parameter_groups
from refersat.training.parts import checkpoint_activations, options_of, summaries
from refersat.training.recipe import Recipe
from refersat.training.run_folder import RunFolder
from refersat.training.setup import Setup, set_up
from refersat.training.summary import parts_table
from refersat.training.trainee import AnyTrainee

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
        UserError: the data or weights cannot be read, the recipe describes no possible model, `out` holds a run already
            and `resume` is False, or none and it is True, the disk is full, or the loss is no longer a number.
        Stopped: Ctrl-C or SIGTERM came; the state is saved.
    """
    # What can be wrong is found before anything is written.
    devices = Devices(recipe)
    setup = set_up(recipe)
    schedule, folder = setup.schedule, RunFolder(out, recipe.keep)
    resume = folder.check(resume=resume)
    devices.accelerator.wait_for_everyone()
    if devices.main and not resume:
        folder.begin(recipe)
    with devices.accelerator.main_process_first():
        tokenizer = setup.tokenizer(folder.tokenizer, new=devices.main and not resume)

    data_files = fingerprint(files_of(setup)) if devices.main else ""
    trainee = _trainee(setup, devices, tokenizer.vocab_size)
    model = trainee.model
    told = parts_table(summaries(model, dict(setup.start.origins)), recipe) if devices.main else []
    told += slow_precision(recipe, devices.device) + crowded(devices.device)
    prepared = devices.prepare(trainee)
    optimizer = _optimizer(trainee, recipe)
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
            for group in optimizer.param_groups:
                group["lr"] = rate * group["scale"]
            numbers, phrases = _learn(devices, prepared, batches, own_terms=recipe.log_samples)
            gradient = devices.clip(trainee, recipe.optimizer.clip).item()
            if not (math.isfinite(numbers["loss"]) and math.isfinite(gradient)):
                raise UserError(_not_a_number(numbers["loss"], gradient, step + 1, batches, folder))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.update(model)
            step += 1

            seconds = time.perf_counter() - began
            began = time.perf_counter()
            if devices.main:
                journal.step(step, {**numbers, "gradient": gradient, "rate": rate, "seconds": seconds})
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


def _trainee(setup: Setup, devices: Devices, vocabulary: int) -> AnyTrainee:
    """The model with its first weights, on the device, and only what is to train trainable."""
    recipe = setup.recipe
    config: Any = setup.start.config
    init = recipe.init
    if (
        setup.start.tokenizer is None and init.beit3 is None and init.roberta is None
    ):  # their tables are as large as they are
        config.vocab_size = vocabulary
    choose_attention(config, recipe, devices.device)
    torch.manual_seed(recipe.seed)
    model = setup.task.model(config)
    setup.start.fill(model)
    if recipe.optimizer.activation_checkpointing:
        checkpoint_activations(model)
    setup.task.freeze(model, recipe.parts, setup.loss)
    return setup.task.trainee(model, setup).to(devices.device)


def _learn(
    devices: Devices, prepared: nn.Module, batches: Sequence[AnyBatch], *, own_terms: bool
) -> tuple[dict[str, float], list[PhraseTerms]]:
    """Add the gradients of a batch, in the parts that it comes in.

    Returns:
        Its loss and terms, over all processes, and the terms of each of its phrases if `own_terms`.
    """
    totals = devices.totals(Totals.of(batches))
    terms: dict[str, Tensor] = {}
    phrases: list[PhraseTerms] = []
    for number, batch in enumerate(batches):
        with devices.unsynchronised(prepared, last=number == len(batches) - 1):
            with devices.precision():
                loss, part, own = prepared(batch.to(devices.device), totals)
            # Every process has its part of the loss, and gradients are averaged over them.
            devices.accelerator.backward(loss * devices.processes)
        for name, value in {"loss": loss.detach(), **part}.items():
            terms[name] = terms[name] + value if name in terms else value
        if own_terms:
            phrases += phrase_terms(batch, own)
    values = devices.total(torch.stack(list(terms.values()))).tolist()  # all brought from the device at once
    return dict(zip(terms, values, strict=True)), devices.together(phrases)


def _optimizer(trainee: AnyTrainee, recipe: Recipe) -> torch.optim.Optimizer:
    def scale(name: str) -> float:
        if not name.startswith("model."):
            return 1.0
        rate = options_of(name.removeprefix("model."), recipe.parts).learning_rate
        return 1.0 if rate is None else rate / recipe.optimizer.learning_rate

    groups = parameter_groups(trainee, recipe.optimizer.weight_decay, scale)
    if recipe.optimizer.kind == "muon":
        return Muon(groups, dtype=getattr(torch, recipe.optimizer.precision))
    return torch.optim.AdamW(groups)


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
