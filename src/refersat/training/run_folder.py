"""The folder of a training run, and how each file in it is written so that a crash at any moment leaves it usable."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from refersat.errors import UserError
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.output import output_folder, write_file
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.objective import Trainee
from refersat.training.parameters import MovingAverage
from refersat.training.recipe import Recipe


@dataclass(frozen=True)
class RunFolder:
    """What a run writes: the resolved recipe, its log, the state to resume from, the tokenizer and the model.

    With several processes only the main one writes; the others may read.
    """

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe; `refersat train` takes it as it is."""
        return self.path / "recipe.json"

    @property
    def log(self) -> Path:
        """One JSON object a line: losses of every step, and scores of every validation."""
        return self.path / "metrics.jsonl"

    @property
    def state(self) -> Path:
        """Everything a run needs to go on as if it had never stopped."""
        return self.path / "state.pt"

    @property
    def tokenizer(self) -> Path:
        """The folder of the tokenizer, made before the first step."""
        return self.path / "tokenizer"

    @property
    def model(self) -> Path:
        """A model folder, as `refersat.load` takes it."""
        return self.path / "model"

    def check(self, *, resume: bool) -> None:
        """See that a run can begin here, or go on.

        Raises:
            UserError: there is nothing to resume, or a run that a new one would destroy.
        """
        if resume and not self.state.is_file():
            raise UserError(f"nothing to resume in {self.path}: no {self.state.name} was saved there")
        if not resume and (self.log.exists() or self.state.exists()):
            raise UserError(f"{self.path} holds a run already: give --resume to go on, or another folder")

    def begin(self, recipe: Recipe) -> None:
        """Make the folder and keep the recipe in it.

        Raises:
            UserError: it cannot be made or written to.
        """
        with output_folder(self.path):
            self._write_recipe(recipe)

    def go_on(self, recipe: Recipe, step: int) -> None:
        """Keep the recipe, and take from the log what was done after `step`: it will be done again.

        The log says where the run was resumed, and which fields of the recipe were changed for what follows.
        """
        before = json.loads(self.recipe.read_text(encoding="utf-8")) if self.recipe.exists() else {}
        after = recipe.model_dump(mode="json")
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        self._write_recipe(recipe)
        if self.log.exists():
            lines = self.log.read_bytes().splitlines(keepends=True)
            write_file(self.log, b"".join(line for line in lines if _step_of(line) <= step))
        self.append({"step": step, "resumed": True, "recipe_changed": changed})

    def append(self, values: dict[str, Any]) -> None:
        """Add a line to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    def save_state(
        self, trainee: Trainee, optimizer: torch.optim.Optimizer, average: MovingAverage, *, step: int
    ) -> None:
        """Save the state after `step` steps; the one before is replaced at once."""
        temporary = self.state.with_suffix(".tmp")
        state = {
            "trainee": trainee.state_dict(),
            "optimizer": optimizer.state_dict(),
            "average": average.model.state_dict(),
            "updates": average.updates,
            "step": step,
        }
        torch.save(state, temporary)
        temporary.replace(self.state)

    def restore(self, trainee: Trainee, optimizer: torch.optim.Optimizer, average: MovingAverage) -> int:
        """Load the state into these and return how many steps were done.

        Raises:
            UserError: the state is damaged, or of a run with another model or other categories.
        """
        try:
            state = torch.load(self.state, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
            raise UserError(f"cannot read {self.state}: {error}") from error
        try:
            trainee.load_state_dict(state["trainee"])
        except RuntimeError as error:
            raise UserError(
                f"{self.state} is of a run with another model or other categories than the recipe's"
            ) from error
        optimizer.load_state_dict(state["optimizer"])
        average.model.load_state_dict(state["average"])
        average.updates = state["updates"]
        return int(state["step"])

    def save_model(self, model: RS2Sam2Model, tokenizer: PhraseTokenizer) -> None:
        """Write the model folder in half precision; the one before stays until the new one is whole."""
        new, old = (self.path / f".{self.model.name}.{age}.{os.getpid()}" for age in ("new", "old"))
        try:
            state = {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}
            with _without_progress_bars():
                model.save_pretrained(new, state_dict=state)
            tokenizer.save(new)
            if self.model.exists():
                self.model.rename(old)
            new.rename(self.model)
        finally:
            shutil.rmtree(new, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

    def _write_recipe(self, recipe: Recipe) -> None:
        write_file(self.recipe, recipe.model_dump_json(indent=2).encode())


def _step_of(line: bytes) -> float:
    try:
        return int(json.loads(line)["step"])
    except ValueError:  # the crash came in the middle of a line
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
