"""The training loop: one file to read in a sitting.

Start it with `refersat train`, or `torchrun --nproc-per-node N -m refersat train` for N processes or devices.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list, gather_object
from torch import Tensor

from refersat.data.coco import read_coco
from refersat.data.samples import Sample
from refersat.data.triplets import read_triplets
from refersat.errors import UserError
from refersat.evaluation.protocol import PROTOCOLS
from refersat.evaluation.rows import Evaluation
from refersat.evaluation.run import evaluate_samples
from refersat.models.loading import LoadedModel
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.segmenter import Segmenter
from refersat.text.corpus import corpus
from refersat.text.tokenizer import PhraseTokenizer, train_tokenizer
from refersat.training.interruption import Stopped, StopRequest
from refersat.training.muon import Muon
from refersat.training.objective import Trainee
from refersat.training.parameters import MovingAverage, freeze_idle, parameter_groups
from refersat.training.recipe import OptimizerOptions, Recipe, Stage
from refersat.training.run_folder import RunFolder
from refersat.training.samples import PhraseSampler, batches, check_data

Report = Callable[[int, dict[str, float]], None]


def train(recipe: Recipe, out: Path, *, resume: bool = False, report: Report = lambda step, values: None) -> Path:
    """Run a recipe and return the folder of the trained model, `out`/model.

    With several processes, the losses in the log are the main one's own; the scores are those of all together.

    Args:
        recipe: what to do.
        out: what `RunFolder` describes.
        resume: go on from the state in `out`, as if the run had never stopped.
        report: called by the main process with the number of steps done, the latest loss and the speed.

    Raises:
        UserError: the data cannot be read, the recipe describes no possible model, `out` holds a run already and
            `resume` is False, or the loss is no longer a number.
        Stopped: Ctrl-C or SIGTERM came; the state is saved.
    """
    # What can be wrong is found before anything is written.
    accelerator = _accelerator(recipe)
    main = accelerator.is_main_process
    _check_sharing(recipe, accelerator.num_processes)
    config = _configuration(recipe)
    source = read_coco(recipe.data.annotations)
    check_data(recipe, source)
    validation = _validation_samples(recipe)
    folder = RunFolder(out)
    folder.check(resume=resume)
    accelerator.wait_for_everyone()

    if main and not resume:
        folder.begin(recipe)
    with accelerator.main_process_first():
        tokenizer = _tokenizer(recipe, config, folder.tokenizer, new=main and not resume)
    config.vocab_size = tokenizer.vocab_size
    half = recipe.optimizer.precision == "bfloat16"
    if half and accelerator.device.type == "cpu":
        # PyTorch's fused attention has no fast bfloat16 kernel for CPUs; plain products are four times as fast.
        config._attn_implementation = "eager"
    torch.manual_seed(recipe.seed)
    model = RS2Sam2Model(config)
    freeze_idle(model, boundary_loss=recipe.loss.boundary > 0)
    trainee = Trainee(model, len(source.categories), recipe.loss).to(accelerator.device)
    optimizer = _optimizer(trainee, recipe.optimizer)
    average = MovingAverage(model, recipe.optimizer.average)
    step = folder.restore(trainee, optimizer, average) if resume else 0
    if main and resume:
        folder.go_on(recipe, step)
    prepared, optimizer = accelerator.prepare(trainee, optimizer)
    prepared.train()

    sampler = PhraseSampler(recipe, source, tokenizer, config)
    stopping = False
    began = time.perf_counter()
    with StopRequest() as request:
        for batch in batches(sampler, start=step, rank=accelerator.process_index, processes=accelerator.num_processes):
            stage, rate = recipe.stage_at(step), learning_rate(step, recipe.steps, recipe.optimizer)
            trainee.weights = stage.loss or recipe.loss
            for group in optimizer.param_groups:
                group["lr"] = rate
            # Not left to accelerate, whose precision is one for the whole life of a process.
            with torch.autocast(accelerator.device.type, torch.bfloat16, enabled=half):
                loss, terms = prepared(batch.to(accelerator.device))
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(trainee.parameters(), recipe.optimizer.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.update(model)
            step += 1

            values = _numbers({"loss": loss.detach(), **terms}, step)
            seconds = time.perf_counter() - began
            began = time.perf_counter()
            if main:
                folder.append({"step": step, **values, "rate": rate, "seconds": seconds})
                report(step, {"loss": values["loss"], "views/s": stage.batch_size / seconds})

            if request.made:
                accelerator.set_trigger()
            stopping = accelerator.check_trigger() and step < recipe.steps  # asking one process stops all
            validating = not stopping and (step % recipe.validate_every == 0 or step == recipe.steps)
            if validating:
                scores = _validate(accelerator, average.model, tokenizer, validation, stage)
                if main:
                    folder.append({"step": step, "validation": scores})
                    folder.save_model(average.model, tokenizer)
            if main and (validating or stopping):
                folder.save_state(trainee, optimizer, average, step=step)
            if stopping:
                break
            if validating:
                accelerator.wait_for_everyone()
                began = time.perf_counter()
    accelerator.wait_for_everyone()
    accelerator.end_training()
    if stopping:
        raise Stopped(f"stopped after {step} of {recipe.steps} steps")
    return folder.model


def learning_rate(step: int, steps: int, options: OptimizerOptions) -> float:
    """Linear warm-up, constant, then linear down to nothing, for step 0 to steps - 1."""
    rising = (step + 1) / max(1, options.warm_up)
    falling = (steps - step) / max(1.0, options.cool_down * steps)
    return options.learning_rate * min(1.0, rising, falling)


def _optimizer(trainee: Trainee, options: OptimizerOptions) -> torch.optim.Optimizer:
    groups = parameter_groups(trainee, options.weight_decay)
    if options.kind == "muon":
        return Muon(groups, dtype=getattr(torch, options.precision))
    return torch.optim.AdamW(groups)


def _accelerator(recipe: Recipe) -> Accelerator:
    # A stage without phrases leaves parameters without gradient.
    idle = any(not stage.phrases_per_view for stage in recipe.stages)
    # Without being told, accelerate takes several processes on a machine without accelerator for single ones.
    return Accelerator(
        cpu=not torch.accelerator.is_available(),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=idle)],
    )


def _check_sharing(recipe: Recipe, processes: int) -> None:
    for stage in recipe.stages:
        if stage.batch_size % processes:
            raise UserError(f"a batch of {stage.batch_size} cannot be shared evenly by {processes} processes")


def _configuration(recipe: Recipe) -> RS2Sam2Config:
    """The built-in model's configuration with the recipe's changes."""
    known = RS2Sam2Config.built_in().to_dict()
    unknown = sorted(set(recipe.model) - set(known))
    if unknown:
        raise UserError(f"recipe {recipe.name}: model has no setting named {', '.join(unknown)}")
    try:
        config = RS2Sam2Config(**{**known, **recipe.model})
        with torch.device("meta"):
            RS2Sam2Model(config)
    except Exception as error:  # the many validators of Transformers share no other base
        raise UserError(f"recipe {recipe.name}: model describes no possible model: {error}") from error
    return config


def _validation_samples(recipe: Recipe) -> list[Sample]:
    """Evenly spread over the set, the same ones each time."""
    if recipe.data.validation is None:
        return []
    samples = read_triplets(recipe.data.validation).samples
    step = max(1.0, len(samples) / recipe.validation_samples)
    return [samples[int(k * step)] for k in range(min(len(samples), recipe.validation_samples))]


def _tokenizer(recipe: Recipe, config: RS2Sam2Config, folder: Path, *, new: bool) -> PhraseTokenizer:
    """The run's tokenizer: a `new` one made of generated sentences, or the one in its folder."""
    if not new:
        return PhraseTokenizer.from_folder(folder, config.max_text_length)
    sentences = corpus(np.random.default_rng(recipe.seed), recipe.tokenizer_sentences)
    return train_tokenizer(sentences, folder, config.vocab_size - 1, max_length=config.max_text_length)


def _numbers(terms: dict[str, Tensor], step: int) -> dict[str, float]:
    """The values of scalars, all brought from the device at once."""
    values = dict(zip(terms, torch.stack(list(terms.values())).tolist(), strict=True))
    if not math.isfinite(values["loss"]):
        raise UserError(f"the loss is {values['loss']} at step {step}: try a lower optimizer.learning_rate")
    return values


def _validate(
    accelerator: Accelerator,
    model: RS2Sam2Model,
    tokenizer: PhraseTokenizer,
    samples: list[Sample],
    stage: Stage,
) -> dict[str, Any]:
    """Scores of the `native` protocol, at the stage's image size; every process answers its share of the samples."""
    if not samples:
        return {}
    mine = samples[accelerator.process_index :: accelerator.num_processes]
    image_size = model.config.image_size
    model.config.image_size = stage.image_size
    try:
        loaded = LoadedModel(model=model, tokenizer=tokenizer, name="training", card=None)
        segmenter = Segmenter(loaded, device=accelerator.device, dtype=torch.float32)
        counted = evaluate_samples(segmenter, mine, protocols=[PROTOCOLS["native"]])
    finally:
        model.config.image_size = image_size
    total = Evaluation.empty([PROTOCOLS["native"]])
    for part in gather_object([counted]):
        total.merge(part)
    shared = [{**total.tallies["native"].result(), "presence": total.presence.result()}]
    broadcast_object_list(shared)
    return shared[0]
