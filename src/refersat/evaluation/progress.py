"""What an evaluation has done so far, so that a killed one goes on where it was.

The folder `progress` holds one file per process, `<k>.jsonl`, to which rows are only ever appended. The first line of
each says which evaluation it is of: whatever the numbers depend on. A run about anything else is refused. A line that
was cut short by a crash is dropped. Pictures of cases lie beside, in `cases`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from filelock import FileLock, Timeout

from refersat.errors import UserError
from refersat.evaluation.rows import SampleRow

FORMAT = 1
"""Raised when rows of older versions can no longer be read."""

_LABELS = {
    "format": "file format",
    "refersat": "version of refersat",
    "model": "model",
    "data": "data",
    "limit": "--limit",
    "protocols": "--protocol",
    "threshold": "--threshold",
    "device": "--device",
    "dtype": "--dtype",
    "save_masks": "--save-masks",
}
"""How messages call what an evaluation is pinned to."""


class Folders:
    """Where everything of an evaluation lies.

    Args:
        out: the evaluation's folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.progress = out / "progress"
        self.cases = self.progress / "cases"
        self.masks = out / "masks"

    def case(self, row: SampleRow) -> Path:
        """The picture of a sample, while it is or may become a case."""
        return self.cases / f"{row.number}.npz"

    def mask(self, row: SampleRow) -> Path:
        """The answer to a sample, where answers are kept: the k-th line of `per_sample.csv`, counted from 0."""
        return self.masks / f"{row.number}.png"


class Progress:
    """The rows of an evaluation on disk; use it in a `with` block, which keeps other evaluations out of the folder.

    Args:
        out: the evaluation's folder, which exists.
    """

    def __init__(self, out: Path) -> None:
        self.folders = Folders(out)
        self._folder = self.folders.progress
        self._lock = FileLock(self._folder / "lock")

    def __enter__(self) -> Progress:
        self._folder.mkdir(exist_ok=True)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise UserError(
                f"another evaluation is writing to {self.folders.out}: wait for it, or give another --out"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if not any(self._folder.glob("*.jsonl")):  # nothing was done: leave nothing
            Path(self._lock.lock_file).unlink(missing_ok=True)
            for folder in (self.folders.cases, self._folder):
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()

    def clear(self) -> None:
        """Forget all rows, cases and masks."""
        for file in self._folder.glob("*.jsonl"):
            file.unlink()
        shutil.rmtree(self.folders.cases, ignore_errors=True)
        for file in self.folders.masks.glob("*.png"):
            if file.stem.isdecimal():
                file.unlink()

    def rows(self, pins: Mapping[str, Any]) -> list[SampleRow]:
        """The rows so far, of all processes, in the order of the samples.

        Raises:
            UserError: they are of an evaluation with other pins.
        """
        found: dict[int, SampleRow] = {}
        for file in sorted(self._folder.glob("*.jsonl")):
            content = file.read_bytes()
            header, *lines = content[: content.rfind(b"\n") + 1].split(b"\n")
            if not header:
                continue
            try:
                self._check(json.loads(header), pins)
                rows = [SampleRow.from_json(json.loads(line)) for line in lines if line]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise UserError(f"{file} is damaged: --overwrite starts anew") from error
            for row in rows:
                found.setdefault(row.number, row)
        return [found[number] for number in sorted(found)]

    def _check(self, theirs: Mapping[str, Any], pins: Mapping[str, Any]) -> None:
        ours = json.loads(json.dumps({"format": FORMAT, **pins}))  # tuples become lists, as in the file
        other = [key for key in {**ours, **theirs} if ours.get(key) != theirs.get(key)]
        if other:
            what = ", ".join(_LABELS.get(key, key) for key in other)
            raise UserError(
                f"{self.folders.out} holds an evaluation that differs from this one ({what}): give another --out, or "
                "--overwrite to start anew"
            )


class ProgressWriter:
    """Appends the rows of one process; its file is made with the first row.

    Args:
        folder: of the progress.
        process: number of this process.
        pins: what the numbers depend on.
    """

    def __init__(self, folder: Path, process: int, pins: Mapping[str, Any]) -> None:
        self._file = folder / f"{process}.jsonl"
        self._header = {"format": FORMAT, **pins}
        self._begun = False

    def append(self, rows: Iterable[SampleRow]) -> None:
        """Write rows, all or, after a crash, the first ones.

        Raises:
            UserError: the disk is full, or the folder is gone.
        """
        try:
            if not self._begun:
                self._begin()
            _append(self._file, [row.to_json() for row in rows])
        except OSError as error:
            raise UserError(f"cannot write {self._file}: {error.strerror or error}") from error

    def _begin(self) -> None:
        """Cut off what a crash left of a line, or make the file."""
        old = self._file.read_bytes() if self._file.is_file() else b""
        whole = old[: old.rfind(b"\n") + 1]
        if whole:
            os.truncate(self._file, len(whole))
        else:
            self._file.unlink(missing_ok=True)
            _append(self._file, [self._header])
        self._begun = True


def _append(file: Path, values: Iterable[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n" for value in values)
    with file.open("ab") as stream:
        stream.write(text.encode())
