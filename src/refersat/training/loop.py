"""The training loop: one file to read in a sitting.

Start it with `refersat train`, or `accelerate launch -m refersat train` for several processes or devices.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from torch.utils.data import DataLoader

from refersat.data.coco import read_coco
from refersat.data.triplets import Sample, read_triplets
from refersat.errors import UserError
from refersat.evaluation.protocol import PROTOCOLS
from refersat.evaluation.run import Evaluation, evaluate_samples
from refersat.models.loading import LoadedModel
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.segmenter import Segmenter
from refersat.text.corpus import corpus
from refersat.text.tokenizer import PhraseTokenizer, train_tokenizer
from refersat.training.objective import Trainee
from refersat.training.parameters import MovingAverage, freeze_idle, parameter_groups
from refersat.training.recipe import OptimizerOptions, Recipe, Stage
from refersat.training.samples import BatchStream, PhraseSampler

STATE_FILE = "state.pt"
METRICS_FILE = "metrics.jsonl"
MODEL_FOLDER = "model"

Report = Callable[[int, dict[str, float]], None]


def train(recipe: Recipe, out: Path, *, resume: bool = False, report: Report = lambda step, values: None) -> Path:
    """Run a recipe and return the folder of the trained model, `out`/model.

    Args:
        recipe: what to do.
        out: for the model, `metrics.jsonl`, the resolved recipe and the state to resume from.
        resume: go on from the state in `out`.
        report: called by the main process with the number of steps done and the latest losses.

    Raises:
        UserError: the data cannot be read, or `out` holds a run already and `resume` is False.
    """
    accelerator = Accelerator()
    _check_sharing(recipe, accelerator.num_processes)
    _prepare_folder(out, resume=resume, main=accelerator.is_main_process)
    accelerator.wait_for_everyone()
    source = read_coco(recipe.data.annotations)
    with accelerator.main_process_first():
        tokenizer = _tokenizer(recipe, out)
    config = _configuration(recipe, tokenizer)
    validation = _validation_samples(recipe)
    sampler = PhraseSampler(recipe, source, tokenizer, config)

    torch.manual_seed(recipe.seed)
    model = RS2Sam2Model(config)
    freeze_idle(model, boundary_loss=recipe.loss.boundary > 0)
    trainee = Trainee(model, len(source.categories), recipe.loss)
    optimizer = torch.optim.AdamW(parameter_groups(trainee, recipe.optimizer.weight_decay))
    average = MovingAverage(model.to(accelerator.device), recipe.optimizer.average)
    step = _restore(out / STATE_FILE, trainee, optimizer, average) if resume else 0
    prepared, optimizer = accelerator.prepare(trainee, optimizer)
    prepared.train()
    if accelerator.is_main_process:
        (out / "recipe.json").write_text(recipe.model_dump_json(indent=2), encoding="utf-8")

    log = _Log(out / METRICS_FILE, enabled=accelerator.is_main_process)
    stream = BatchStream(sampler, start=step, rank=accelerator.process_index, processes=accelerator.num_processes)
    began = time.perf_counter()
    for batch in DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4):
        batch = batch.to(accelerator.device)
        stage = recipe.stage_at(step)
        rate = learning_rate(step, recipe.steps, recipe.optimizer)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, terms = prepared(batch)
        accelerator.backward(loss)
        accelerator.clip_grad_norm_(trainee.parameters(), recipe.optimizer.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        average.update(model)
        step += 1

        values = {name: float(term) for name, term in terms.items()}
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        log.write({"step": step, "loss": float(loss.detach()), **values, "rate": rate, "seconds": seconds})
        report(step, {"loss": float(loss.detach()), "images/s": stage.batch_size / seconds})
        if step % recipe.validate_every == 0 or step == recipe.steps:
            scores = _validate(accelerator, average, tokenizer, validation, stage)
            log.write({"step": step, "validation": scores})
            if accelerator.is_main_process:
                _save_state(out / STATE_FILE, trainee, optimizer, average, step)
                save_model(average.model, tokenizer, out / MODEL_FOLDER, image_size=config.image_size)
            accelerator.wait_for_everyone()
            began = time.perf_counter()
    accelerator.end_training()
    return out / MODEL_FOLDER


def learning_rate(step: int, steps: int, options: OptimizerOptions) -> float:
    """Linear warm-up, then a cosine down to nothing, for step 0 to steps - 1."""
    if step < options.warm_up:
        return options.learning_rate * (step + 1) / options.warm_up
    progress = (step - options.warm_up) / max(1, steps - options.warm_up)
    return options.learning_rate * 0.5 * (1 + math.cos(math.pi * progress))


def save_model(model: RS2Sam2Model, tokenizer: PhraseTokenizer, folder: Path, *, image_size: int) -> None:
    """Write a model folder (half precision), all of it or nothing."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    with _image_size(model, image_size):
        state = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
        model.save_pretrained(temporary, state_dict=state)
    tokenizer.save(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def _prepare_folder(out: Path, *, resume: bool, main: bool) -> None:
    if resume and not (out / STATE_FILE).exists():
        raise UserError(f"nothing to resume in {out}: it has no {STATE_FILE}")
    if main and not resume:
        if (out / METRICS_FILE).exists():
            raise UserError(f"{out} holds a run already: give --resume to go on, or another folder")
        out.mkdir(parents=True, exist_ok=True)


def _tokenizer(recipe: Recipe, out: Path) -> PhraseTokenizer:
    config = _base_configuration(recipe)
    folder = out / "tokenizer"
    if folder.exists():
        return PhraseTokenizer.from_folder(folder, config.max_text_length)
    sentences = corpus(np.random.default_rng(recipe.seed), recipe.tokenizer_sentences)
    return train_tokenizer(sentences, folder, config.vocab_size - 1, max_length=config.max_text_length)


def _base_configuration(recipe: Recipe) -> RS2Sam2Config:
    known = RS2Sam2Config.built_in().to_dict()
    unknown = sorted(set(recipe.model) - set(known))
    if unknown:
        raise UserError(f"recipe {recipe.name}: model has no setting named {', '.join(unknown)}")
    return RS2Sam2Config(**{**known, **recipe.model})


def _configuration(recipe: Recipe, tokenizer: PhraseTokenizer) -> RS2Sam2Config:
    """As asked for, with as many token embeddings as the vocabulary came to have."""
    return RS2Sam2Config(**{**_base_configuration(recipe).to_dict(), "vocab_size": tokenizer.vocab_size})


def _validation_samples(recipe: Recipe) -> list[Sample]:
    """Evenly spread over the set, the same ones each time."""
    if recipe.data.validation is None:
        return []
    samples = read_triplets(recipe.data.validation).samples
    step = max(1.0, len(samples) / recipe.validation_samples)
    return [samples[int(k * step)] for k in range(min(len(samples), recipe.validation_samples))]


def _check_sharing(recipe: Recipe, processes: int) -> None:
    for stage in recipe.stages:
        if stage.batch_size % processes:
            raise UserError(f"a batch of {stage.batch_size} cannot be shared evenly by {processes} processes")


def _validate(
    accelerator: Accelerator,
    average: MovingAverage,
    tokenizer: PhraseTokenizer,
    samples: list[Sample],
    stage: Stage,
) -> dict[str, Any]:
    """Every process answers its share of the samples; the counts are added up. Scores of the `native` protocol."""
    if not samples:
        return {}
    mine = samples[accelerator.process_index :: accelerator.num_processes]
    with _image_size(average.model, stage.image_size):
        loaded = LoadedModel(model=average.model, tokenizer=tokenizer, name="training", card=None)
        segmenter = Segmenter(loaded, device=accelerator.device, dtype=torch.float32)
        counted = evaluate_samples(segmenter, mine, protocols=[PROTOCOLS["native"]])
    total = Evaluation.empty([PROTOCOLS["native"]])
    for part in gather_object([counted]):
        total.merge(part)
    scores = {**total.tallies["native"].result(), "presence": total.presence.result()}
    shared = [scores]
    broadcast_object_list(shared)
    return shared[0]


@contextmanager
def _image_size(model: RS2Sam2Model, image_size: int) -> Iterator[None]:
    """The model's configuration with another view size, for a while."""
    before = model.config.image_size
    model.config.image_size = image_size
    try:
        yield
    finally:
        model.config.image_size = before


def _save_state(path: Path, trainee: Trainee, optimizer: Any, average: MovingAverage, step: int) -> None:
    temporary = path.with_suffix(".tmp")
    state = {
        "trainee": trainee.state_dict(),
        "optimizer": optimizer.state_dict(),
        "average": average.model.state_dict(),
        "updates": average.updates,
        "step": step,
    }
    torch.save(state, temporary)
    temporary.replace(path)


def _restore(path: Path, trainee: Trainee, optimizer: torch.optim.Optimizer, average: MovingAverage) -> int:
    state = torch.load(path, map_location="cpu", weights_only=True)
    trainee.load_state_dict(state["trainee"])
    optimizer.load_state_dict(state["optimizer"])
    average.model.load_state_dict(state["average"])
    average.updates = state["updates"]
    return int(state["step"])


class _Log:
    """One JSON object a line."""

    def __init__(self, path: Path, *, enabled: bool) -> None:
        self._path = path
        self._enabled = enabled

    def write(self, values: dict[str, Any]) -> None:
        if self._enabled:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
