"""The output folder of a batch as its own ledger: a unit is done when its folder is there, and it comes by one rename.

    OUT/batch.json              what all answers depend on
    OUT/rows/3f/harbour-3f2a.../   the files of one image, with record.json
    OUT/work/                   what is unfinished; gone when all is done
    OUT/lock, OUT/owner.json    while a run is writing

No file says what is done besides the folders themselves, so that nothing can disagree with them. Whoever comes second
with the same unit (a worker that was taken for dead, a task that was tried again) finds the folder and leaves its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from refersat.batch.rows import Unit
from refersat.errors import UserError
from refersat.output import write_file

FORMAT = 1
"""Raised when folders of older versions can no longer be gone on with."""

RECORD = "record.json"
_PINS = "batch.json"


@dataclass(frozen=True)
class Ledger:
    """Where everything of a batch lies; workers on other machines see the same folder under the same path.

    Attributes:
        out: the batch's folder, absolute.
    """

    out: Path

    @property
    def rows(self) -> Path:
        """Finished units."""
        return self.out / "rows"

    @property
    def work(self) -> Path:
        """Unfinished ones."""
        return self.out / "work"

    def folder(self, name: str) -> Path:
        """Of a finished unit, by its name. 256 folders above them keep each short enough for any file system."""
        return self.rows / name.rpartition("-")[2][:2] / name

    def is_done(self, unit: Unit) -> bool:
        """Whether a unit is finished; what is in its folder is not looked at."""
        return self.folder(unit.name).is_dir()

    def record(self, name: str) -> dict[str, Any] | None:
        """What is known of a finished unit; None where it is not, or not whole: a record's files have their sizes."""
        folder = self.folder(name)
        try:
            found = json.loads((folder / RECORD).read_bytes())
            whole = all((folder / file).stat().st_size == size for file, size in found["files"].items())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return found if whole else None

    @contextmanager
    def workplace(self, unit: Unit, *, shared: bool = False) -> Iterator[Path]:
        """A folder to make a unit's files in; gone afterwards unless it was shared and the block failed.

        Args:
            unit: whose.
            shared: the same place for everybody who tries, one at a time, so that one goes on where another stopped;
                who finds it taken gets one of their own.
        """
        if shared:
            with contextlib.suppress(Timeout), FileLock(self.work / f"{unit.name}.lock", blocking=False):
                place = self.work / unit.name
                place.mkdir(parents=True, exist_ok=True)
                yield place
                shutil.rmtree(place, ignore_errors=True)
                return
        place = self.work / f"{unit.name}.{uuid.uuid4().hex[:8]}"
        try:
            place.mkdir(parents=True)
        except OSError as error:
            raise UserError(f"cannot write to {place.parent}: {error.strerror or error}") from error
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def commit(self, unit: Unit, place: Path, record: Mapping[str, Any]) -> None:
        """Let a unit be done, with the files in `place`; where it is done already, that stays.

        Raises:
            UserError: the disk is full, or does not allow it.
        """
        files = {path.name: path.stat().st_size for path in sorted(place.iterdir()) if path.is_file()}
        content = {"format": FORMAT, "image": unit.image, "phrases": list(unit.phrases), **record, "files": files}
        write_file(place / RECORD, (json.dumps(content, indent=1) + "\n").encode())  # names may be no Unicode
        target = self.folder(unit.name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            place.rename(target)
        except OSError as error:
            if not target.is_dir():
                raise UserError(f"cannot write {target}: {error.strerror or error}") from error
        self.withdraw(unit)

    def forget(self, name: str) -> None:
        """Let a unit be not done."""
        folder = self.folder(name)
        if folder.is_dir():
            self.work.mkdir(exist_ok=True)
            gone = self.work / f"{name}.{uuid.uuid4().hex[:8]}"
            folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def attempts(self, unit: Unit) -> int:
        """How often work on a unit began that did not come to an end, well or badly: its process died."""
        try:
            return self._attempts(unit).stat().st_size
        except OSError:
            return 0

    def attempt(self, unit: Unit) -> None:
        """Note that work on a unit begins."""
        path = self._attempts(unit)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as stream:
                stream.write(b".")
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror or error}") from error

    def withdraw(self, unit: Unit) -> None:
        """Take back that work on a unit began: it was stopped in good order."""
        self._attempts(unit).unlink(missing_ok=True)

    def _attempts(self, unit: Unit) -> Path:
        return self.work / "attempts" / unit.name

    def done(self) -> set[str]:
        """The names of all finished units."""
        shards = (shard for shard in self.rows.glob("??") if shard.is_dir())
        return {entry.name for shard in shards for entry in os.scandir(shard) if entry.is_dir()}

    def begin(self, pins: Mapping[str, Any], *, resume: bool, overwrite: bool) -> None:
        """Make the folder ready for a run whose answers depend on `pins`, which JSON can hold.

        Raises:
            UserError: it holds another run, or one and neither `resume` nor `overwrite` is set.
        """
        path = self.out / _PINS
        ours = json.loads(json.dumps({"file format": FORMAT, **pins}))
        if overwrite:
            for folder in (self.rows, self.work):
                shutil.rmtree(folder, ignore_errors=True)
            path.unlink(missing_ok=True)
        if path.is_file():
            theirs = _read_pins(path)
            changed = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
            if changed:
                raise UserError(
                    f"{self.out} holds a batch that differs from this one ({', '.join(changed)}): give another --out, "
                    f"or --overwrite to start anew"
                )
            if not resume:
                raise UserError(
                    f"{self.out} holds a batch with {len(self.done()):,} finished images: add --resume to go on with "
                    f"it, --overwrite to start anew, or give another --out"
                )
        elif self.rows.exists():
            raise UserError(f"{self.rows} exists, and {_PINS} beside it does not: give another --out, or --overwrite")
        else:
            write_file(path, (json.dumps(ours, indent=1, ensure_ascii=False) + "\n").encode())
        self.work.mkdir(exist_ok=True)

    def clear_work(self, *, attempts: bool) -> None:
        """Remove what killed processes left of unfinished units, but scenes that can be gone on with.

        Args:
            attempts: whether to forget these, too.
        """
        for path in self.work.glob("*.????????"):
            shutil.rmtree(path, ignore_errors=True)
        if attempts:
            shutil.rmtree(self.work, ignore_errors=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out of the folder, on all machines whose file system locks for all; a killed run's is free.

        Raises:
            UserError: another run has it.
        """
        lock, owner = FileLock(self.out / "lock"), self.out / "owner.json"
        try:
            lock.acquire(blocking=False)
        except Timeout:
            raise UserError(
                f"another batch is writing to {self.out}{_whose(owner)}: wait for it, or give another --out"
            ) from None
        try:
            about = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
            write_file(owner, json.dumps(about).encode())
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()


def _read_pins(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: --overwrite starts anew") from error
    return found if isinstance(found, dict) else {}


def _whose(owner: Path) -> str:
    try:
        about = json.loads(owner.read_bytes())
        return f" (process {about['pid']} on {about['host']}, since {about['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
