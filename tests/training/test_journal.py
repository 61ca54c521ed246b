"""What a run writes down, and what becomes of it where it cannot be written."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from refersat.errors import UserError
from refersat.training.batch import Batch
from refersat.training.journal import Journal, Picture, phrase_terms
from refersat.training.recipe import Recipe
from refersat.training.run_folder import RunFolder
from refersat.training.setup import set_up

SCORES = {"mIoU": 12.5, "count": 6, "presence": {"accuracy": 75.0, "name": "x"}, "by_size": {"small": 1.0}}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Board:
    """Keeps what TensorBoard's writer is given."""

    def __init__(self, folder: str, purge_step: int | None = None) -> None:
        self.folder = Path(folder)
        self.scalars: dict[str, tuple[float, int]] = {}
        self.images: dict[str, tuple[tuple[int, ...], int, str]] = {}
        self.closed = False
        boards.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name] = value, step

    def add_image(self, name: str, pixels: np.ndarray, step: int, *, dataformats: str) -> None:
        self.images[name] = pixels.shape, step, dataformats

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True


boards: list[Board] = []


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> list[Board]:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Board  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    boards.clear()
    return boards


def test_lines_are_added_one_by_one(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    journal = Journal(folder, tensorboard=False)
    journal.step(1, {"loss": 2.5, "rate": 1e-3})
    journal.phrases(1, [("a.png: a ship", {"dice": 0.5}), ("b.png: a tank", {"dice": 0.25})])
    journal.phrases(2, [])
    journal.validation(1, SCORES)
    journal.note(1, resumed=True)
    journal.close()
    Journal(folder, tensorboard=False).step(2, {"loss": 2.0, "rate": 1e-3})
    assert rows(folder.log) == [
        {"step": 1, "loss": 2.5, "rate": 1e-3},
        {"step": 1, "validation": SCORES},
        {"step": 1, "resumed": True},
        {"step": 2, "loss": 2.0, "rate": 1e-3},
    ]
    assert rows(folder.samples) == [
        {"step": 1, "sample": "a.png: a ship", "dice": 0.5},
        {"step": 1, "sample": "b.png: a tank", "dice": 0.25},
    ]
    assert not folder.board.exists()


def test_terms_go_to_their_phrases() -> None:
    batch = Batch(*[torch.zeros(0)] * 6, views=("a.png", "b.png"), phrases=("one", "two", "three", "four"))
    terms = {"dice": torch.tensor([1.0, 2.0, 3.0, 4.0]), "boundary": torch.tensor([5.0, 6.0, 7.0, 8.0])}
    assert phrase_terms(batch, terms) == [
        ("a.png: one", {"dice": 1.0, "boundary": 5.0}),
        ("a.png: two", {"dice": 2.0, "boundary": 6.0}),
        ("b.png: three", {"dice": 3.0, "boundary": 7.0}),
        ("b.png: four", {"dice": 4.0, "boundary": 8.0}),
    ]
    assert phrase_terms(batch, {}) == []


def test_tensorboard_gets_scalars_and_pictures(tmp_path: Path, board: list[Board]) -> None:
    journal = Journal(RunFolder(tmp_path), tensorboard=True)
    journal.step(3, {"loss": 2.5, "rate": 1e-3})
    journal.validation(3, SCORES, [Picture("s1", np.zeros((5, 7, 3), np.uint8))])
    journal.close()
    (one,) = board
    assert one.folder == tmp_path / "tensorboard"
    assert one.scalars == {
        "train/loss": (2.5, 3),
        "train/rate": (1e-3, 3),
        "validation/mIoU": (12.5, 3),
        "validation/count": (6.0, 3),
        "validation/presence/accuracy": (75.0, 3),
    }
    assert one.images == {"answers/s1": ((5, 7, 3), 3, "HWC")}
    assert one.closed


def test_tensorboard_reads_what_was_written(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    journal = Journal(RunFolder(tmp_path), tensorboard=True)
    journal.step(3, {"loss": 2.5})
    journal.validation(3, SCORES, [Picture("s1", np.zeros((5, 7, 3), np.uint8))])
    journal.close()
    read = events.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(event.step, event.value) for event in read.Scalars("train/loss")] == [(3, 2.5)]
    assert [(image.width, image.height) for image in read.Images("answers/s1")] == [(7, 5)]


def test_tensorboard_forgets_what_is_done_again(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for done, losses in ((0, {1: 3.0, 2: 2.0, 3: 1.0}), (1, {2: 2.5})):  # killed after step 3, its state is of step 1
        journal = Journal(RunFolder(tmp_path), tensorboard=True, done=done)
        for step, loss in losses.items():
            journal.step(step, {"loss": loss})
        journal.close()
        time.sleep(1.1)  # the names of the files go by seconds
    read = events.EventAccumulator(str(tmp_path / "tensorboard"))
    read.Reload()
    assert [(event.step, event.value) for event in read.Scalars("train/loss")] == [(1, 3.0), (2, 2.5)]


def test_tensorboard_is_missed_before_anything_is_written(
    make_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r"pip install 'refersat\[tensorboard\]', or --set tensorboard=false"):
        set_up(make_recipe(tensorboard=True))
    set_up(make_recipe())


# /dev/full is a device of Linux, where CI runs; other systems have no disk that is always full.
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full disk of Linux")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to("/dev/full")
    journal = Journal(RunFolder(tmp_path), tensorboard=False)
    with pytest.raises(UserError, match=r"cannot write .*metrics\.jsonl: No space left on device; .*--resume goes on"):
        journal.step(1, {"loss": 2.5})
