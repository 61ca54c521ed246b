"""The folder of a training run, and how each file in it is written so that a crash at any moment leaves it usable."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from refersat.errors import UserError
from refersat.output import output_folder, write_file
from refersat.text.phrases import Tokenizer
from refersat.training.checkpoints import Checkpoints
from refersat.training.recipe import Recipe

FACTS_FILE = "training.json"
"""Lies beside the weights and says what they come from."""


@dataclass(frozen=True)
class RunFolder:
    """What a run writes: the resolved recipe, its log, states to resume from, the tokenizer and the model.

    With several processes only the main one writes; the others may read.
    """

    path: Path
    keep: int = 2

    @property
    def recipe(self) -> Path:
        """The resolved recipe; `refersat train` takes it as it is."""
        return self.path / "recipe.json"

    @property
    def log(self) -> Path:
        """One JSON object a line: losses of every step, and scores of every validation."""
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """One JSON object a line: the loss terms of a phrase at a step."""
        return self.path / "samples.jsonl"

    @property
    def curves(self) -> Path:
        """A picture of losses and scores, made at the end."""
        return self.path / "curves.png"

    @property
    def checkpoints(self) -> Checkpoints:
        """Everything a run needs to go on as if it had never stopped."""
        return Checkpoints(self.path / "states", self.keep)

    def layouts(self, step: int) -> Path:
        """What the model saw after so many steps, to learn which of it phrases mean."""
        return self.path / f"layouts-{step:07d}.safetensors"

    def drawn(self, step: int) -> Path:
        """What the model drew after so many steps, to learn to draw it again in pixels."""
        return self.path / f"drawn-{step:07d}"

    @property
    def seen(self) -> Path:
        """What a frozen eye saw, unless the recipe names another place."""
        return self.path / "seen"

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer, made before the first step."""
        return self.path / "tokenizer"

    @property
    def model(self) -> Path:
        """The last model, a folder as `refersat.load` takes it."""
        return self.path / "model"

    @property
    def best(self) -> Path:
        """The model with the best score on the validation set, in the same form."""
        return self.path / "best"

    @property
    def board(self) -> Path:
        """What TensorBoard shows."""
        return self.path / "tensorboard"

    def check(self, *, resume: bool) -> bool:
        """See that a run can begin here, or go on.

        Returns:
            Whether there is a state to go on from; a run to resume that was stopped before its first one begins anew.

        Raises:
            UserError: there is nothing to resume, or a run that a new one would destroy.
        """
        saved = bool(self.checkpoints.steps())
        if resume and not (saved or self.recipe.exists()):
            raise UserError(f"nothing to resume in {self.path}: no run was begun there")
        if not resume and (self.log.exists() or saved):
            raise UserError(f"{self.path} holds a run already: give --resume to go on, or another folder")
        return resume and saved

    def begin(self, recipe: Recipe) -> None:
        """Make the folder and keep the recipe in it; what a run without a state has left goes.

        Raises:
            UserError: it cannot be made or written to.
        """
        with output_folder(self.path):
            self._write_recipe(recipe)
            for left in (self.log, self.samples, *self.path.glob("layouts-*.safetensors")):
                left.unlink(missing_ok=True)
            for left in self.path.glob("drawn-*"):
                shutil.rmtree(left)
            self._tidy()

    def go_on(self, recipe: Recipe, step: int) -> list[str]:
        """Keep the recipe, and take from the logs what was done after `step`: it will be done again.

        Returns:
            Which fields of the recipe were changed for what follows.
        """
        before = self._recipe_before()
        after = recipe.model_dump(mode="json")
        self._write_recipe(recipe)
        for log in (self.log, self.samples):
            if log.exists():
                lines = log.read_bytes().splitlines(keepends=True)
                write_file(log, b"".join(line for line in lines if _step_of(line) <= step))
        self._tidy()
        return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))

    def save_model(self, model: PreTrainedModel, tokenizer: Tokenizer, facts: Mapping[str, Any], *, best: bool) -> None:
        """Write the model folder in half precision, and once more as the best; at every moment a whole one is there.

        Raises:
            UserError: the disk is full or does not allow it.
        """
        state = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
        for target in (self.best, self.model) if best else (self.model,):
            new = self.path / f".{target.name}.new.{os.getpid()}"
            try:
                with _without_progress_bars():
                    model.save_pretrained(new, state_dict=dict(state))  # it takes what it is given apart
                tokenizer.save(new)
                write_file(new / FACTS_FILE, json.dumps(facts, indent=2).encode())
                _put_in_place(new, target)
            except Exception as error:  # safetensors has errors of its own for a full disk
                kept = "; the one before is whole" if target.exists() else ""
                raise UserError(f"cannot write the model to {target}: {' '.join(str(error).split())}{kept}") from error
            finally:
                shutil.rmtree(new, ignore_errors=True)

    def _tidy(self) -> None:
        """Take away what a run that was killed in the middle of writing has left."""
        for folder in (self.model, self.best):
            for left in self.path.glob(f".{folder.name}.new.*"):
                shutil.rmtree(left)
        for left in (*self.path.glob(".*.tmp"), *self.path.glob("states/*.tmp")):
            left.unlink()

    def _recipe_before(self) -> dict[str, Any]:
        """The recipe in the folder as plain values; {} where somebody took it away or spoilt it."""
        try:
            return dict(json.loads(self.recipe.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return {}

    def _write_recipe(self, recipe: Recipe) -> None:
        write_file(self.recipe, recipe.model_dump_json(indent=2).encode())


def _put_in_place(new: Path, target: Path) -> None:
    """Rename a model folder, or its files one by one where there is one already: no moment is without a whole model.

    In between, configuration and tokenizer are the same, and the facts are gone: they are never those of other weights.
    """
    if not target.exists():
        new.rename(target)
        return
    (target / FACTS_FILE).unlink(missing_ok=True)
    for file in sorted(new.iterdir(), key=lambda file: file.name == FACTS_FILE):
        file.replace(target / file.name)


def _step_of(line: bytes) -> float:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):  # the crash came in the middle of a line
        return float("inf")


@contextmanager
def _without_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar of its own into ours."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
