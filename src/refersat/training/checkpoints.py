"""The state of a run on disk: whole or not there, the last few of them, and the same for any number of processes."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from refersat.errors import UserError
from refersat.models.official import few
from refersat.training.devices import whole
from refersat.training.parameters import MovingAverage
from refersat.training.trainee import AnyTrainee

_NAME = re.compile(r"step-(\d+)\.pt")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class Learner:
    """What changes while a run goes on, but for its files."""

    trainee: AnyTrainee
    optimizer: torch.optim.Optimizer
    average: MovingAverage

    def state(self) -> dict[str, Any]:
        """All of it by the parameters' names, with whole tensors on the CPU; every process has to ask."""
        names: dict[torch.Tensor, str] = {parameter: name for name, parameter in self.trainee.named_parameters()}
        return {
            "trainee": _whole(self.trainee.state_dict()),
            "optimizer": {names[parameter]: _whole(values) for parameter, values in self.optimizer.state.items()},
            "kind": _kind(self.optimizer),
            "average": _whole(self.average.values),
            "updates": self.average.updates,
            "generators": {
                "cpu": torch.get_rng_state(),
                "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            },
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Take over what `state` gave, under any number of processes; rates and decay stay as they are.

        Raises:
            UserError: it is of a run with another model, other categories, other parts that train, another kind of
                optimizer, or with an average where this has none.
        """
        kind = state.get("kind", _kind(self.optimizer))  # older states do not tell
        if kind != _kind(self.optimizer):
            raise UserError(_another(f"another optimizer.kind: {kind}"))
        if bool(self.average.values) != bool(state["average"]):
            raise UserError(_another(f"optimizer.average {'a number' if state['average'] else 'null'}"))
        weights = self.trainee.state_dict(keep_vars=True)
        _check(weights, state["trainee"], "another model, other categories or other terms of the loss")
        _check(self.average.values, state["average"], "other parts that train")
        _fill(weights, state["trainee"])
        _fill(self.average.values, state["average"])
        self.average.updates = state["updates"]
        parameters = dict(self.trainee.named_parameters())
        for name, values in state["optimizer"].items():
            parameter = parameters[name]
            self.optimizer.state[parameter] = {key: self._placed(value, parameter) for key, value in values.items()}
        torch.set_rng_state(state["generators"]["cpu"])
        if torch.cuda.is_available() and state["generators"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["generators"]["cuda"])

    def _placed(self, value: Any, parameter: torch.nn.Parameter) -> Any:
        """What the optimizer keeps for a parameter, where it wants it."""
        if getattr(value, "shape", None) == parameter.shape:
            return _like(value, parameter)
        if isinstance(value, torch.Tensor) and self.optimizer.defaults.get("fused"):
            return value.to(parameter.device)  # a count of steps that its kernel reads
        return value


def _whole(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: whole(value.detach()).cpu() if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
    }


def _kind(optimizer: torch.optim.Optimizer) -> str:
    """As in a recipe."""
    return type(optimizer).__name__.lower()


def _another(what: str) -> str:
    """What is said to one who would go on with another recipe than can be gone on with."""
    return (
        f"the state is of a run with {what}. Give the recipe that it was begun with (recipe.json in its folder), "
        "or another folder"
    )


def _check(targets: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor], otherwise: str) -> None:
    shapes = [{name: tuple(tensor.shape) for name, tensor in each.items()} for each in (targets, values)]
    if shapes[0] != shapes[1]:
        different = sorted(name for name in {**targets, **values} if shapes[0].get(name) != shapes[1].get(name))
        raise UserError(_another(f"{otherwise}: {few(different)} differ"))


def _fill(targets: Mapping[str, torch.Tensor], values: Mapping[str, torch.Tensor]) -> None:
    for name, target in targets.items():
        target.copy_(_like(values[name], target))


def _like(tensor: torch.Tensor, other: Any) -> torch.Tensor:
    """The tensor on the other one's device, spread over processes as that is."""
    moved = tensor.to(other.device)
    if not hasattr(other, "device_mesh"):
        return moved
    from torch.distributed.tensor import distribute_tensor

    spread: torch.Tensor = distribute_tensor(moved, other.device_mesh, other.placements)
    return spread


def _cause(error: BaseException | None) -> OSError | None:
    """The system's own error: PyTorch's writer stumbles once more on its way out, in words of its own."""
    while error is not None and not isinstance(error, OSError):
        error = error.__context__
    return error


@dataclass(frozen=True)
class Checkpoints:
    """The folder of the states of a run, one file each, named by the steps that were done."""

    folder: Path
    keep: int = 2

    def steps(self) -> list[int]:
        """Of which steps there are states, in order."""
        names = (_NAME.fullmatch(path.name) for path in self.folder.glob("step-*.pt"))
        return sorted(int(match.group(1)) for match in names if match)

    def save(self, step: int, content: Mapping[str, Any]) -> None:
        """Write a state; only when it is whole, the oldest go that are too many.

        Raises:
            UserError: the disk is full or does not allow it; the states before are as they were.
        """
        path = self._path(step)
        temporary = path.with_suffix(".tmp")
        try:
            self.folder.mkdir(exist_ok=True)
            with temporary.open("wb") as file:
                torch.save(dict(content), file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException as error:
            temporary.unlink(missing_ok=True)
            cause = _cause(error)
            if cause is None and "PytorchStreamWriter" not in str(error):
                raise
            raise UserError(self._not_written(cause or error)) from error
        for old in self.steps()[: -self.keep]:
            self._path(old).unlink()

    def load(self) -> dict[str, Any]:
        """The last state.

        Raises:
            UserError: there is none, or it is damaged.
        """
        steps = self.steps()
        if not steps:
            raise UserError(f"no state was saved in {self.folder}")
        path = self._path(steps[-1])
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # damaged pickles know nearly every one
            reason = f"{type(error).__name__} {' '.join(str(error).split())[:100]}".rstrip()
            raise UserError(f"cannot read {path}: {reason}{self._older()}") from error
        if not (isinstance(content, dict) and "step" in content):
            raise UserError(f"{path} is no state of a run{self._older()}")
        return content

    def _older(self) -> str:
        """What can be done without the last state."""
        before = self.steps()[:-1]
        return f"; delete it to go on from step {before[-1]}" if before else ""

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:07d}.pt"

    def _not_written(self, error: BaseException) -> str:
        reason = "the disk is full" if getattr(error, "errno", None) in _FULL else getattr(error, "strerror", None)
        steps = self.steps()
        last = (
            f"the state after step {steps[-1]} is whole: --resume goes on from there" if steps else "none is there yet"
        )
        return f"cannot write a state to {self.folder}: {reason or error}; {last}"
