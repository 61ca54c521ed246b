"""What a run writes down as it goes: losses, scores, the terms of each phrase, and what TensorBoard shows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.errors import UserError
from refersat.training.batch import AnyBatch
from refersat.training.run_folder import RunFolder

PhraseTerms: TypeAlias = tuple[str, dict[str, float]]
"""A phrase with where it is from, and its own loss terms."""


def phrase_terms(batch: AnyBatch, terms: Mapping[str, Tensor]) -> list[PhraseTerms]:
    """The loss terms (B,) of a batch's phrases, phrase by phrase."""
    if not terms:
        return []
    rows = torch.stack(list(terms.values()), dim=1).tolist()
    return [(name, dict(zip(terms, row, strict=True))) for name, row in zip(batch.told(), rows, strict=True)]


@dataclass(frozen=True)
class Picture:
    """An answer drawn on its image, (H, W, 3) uint8, by the name of its sample."""

    name: str
    rgb: NDArray[np.uint8]


class Journal:
    """Lines of metrics.jsonl and samples.jsonl, each whole or not there, and TensorBoard's events if asked for.

    Args:
        folder: of the run.
        tensorboard: whether to write its events, too.
        done: steps before this journal; what TensorBoard was told of later ones is no longer shown.

    Raises:
        UserError: TensorBoard is asked for and not installed.
    """

    def __init__(self, folder: RunFolder, *, tensorboard: bool, done: int = 0) -> None:
        self.folder = folder
        self._board = _board(folder.board, done) if tensorboard else None

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """The losses of a step, its learning rate, and the like."""
        self._append(self.folder.log, [{"step": step, **values}])
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(f"train/{name}", value, step)

    def phrases(self, step: int, terms: Sequence[PhraseTerms]) -> None:
        """The loss terms of each phrase of a step."""
        if terms:
            self._append(self.folder.samples, [{"step": step, "sample": name, **values} for name, values in terms])

    def validation(self, step: int, scores: Mapping[str, Any], pictures: Sequence[Picture] = ()) -> None:
        """The scores of the model after a step."""
        self._append(self.folder.log, [{"step": step, "validation": scores}])
        if self._board is not None:
            for name, value in _scalars(scores):
                self._board.add_scalar(f"validation/{name}", value, step)
            for picture in pictures:
                self._board.add_image(f"answers/{picture.name}", picture.rgb, step, dataformats="HWC")
            self._board.flush()

    def note(self, step: int, **values: Any) -> None:
        """Anything else that happened."""
        self._append(self.folder.log, [{"step": step, **values}])

    def close(self) -> None:
        """Let TensorBoard's file go."""
        if self._board is not None:
            self._board.close()

    def _append(self, path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write("".join(json.dumps(line) + "\n" for line in lines))
        except OSError as error:
            raise UserError(
                f"cannot write {path}: {error.strerror or error}; what was saved last is whole: --resume goes on there"
            ) from error


def check_tensorboard() -> None:
    """See that TensorBoard's writer can be had, before a run that wants it.

    Raises:
        UserError: it is not installed.
    """
    try:
        import torch.utils.tensorboard  # noqa: F401
    except ImportError:
        raise UserError(
            "tensorboard: true needs TensorBoard: pip install 'refersat[tensorboard]', or --set tensorboard=false"
        ) from None


def _board(folder: Path, done: int) -> Any:
    check_tensorboard()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=done + 1 if done else None)


def _scalars(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in scores.items():
        if isinstance(value, int | float):
            yield f"{prefix}{name}", float(value)
        elif isinstance(value, Mapping) and not name.startswith("by_"):
            yield from _scalars(value, f"{prefix}{name}/")
