"""Where fetched models are kept: one folder per name, complete or not there at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refersat.errors import UserError

SUMS_FILE = "SHA256SUMS"
_CHUNK = 2**22


def store_folder() -> Path:
    """`$REFERSAT_HOME/models`, or `refersat/models` in the user's cache folder."""
    home = os.environ.get("REFERSAT_HOME")
    if home:
        return Path(home).expanduser() / "models"
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "refersat" / "models"


def model_folder(name: str) -> Path:
    """Where the model of that name is, once fetched."""
    return store_folder() / name


@contextmanager
def replaced_at_once(target: Path) -> Iterator[Path]:
    """A new folder to fill that takes the place of `target` when the block ends well, and vanishes when it does not.

    Raises:
        UserError: the place cannot be written to, or the disk is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise UserError(f"cannot write to {target.parent}: {error.strerror or error}") from error
    try:
        new, old = work / "new", work / "old"
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        try:
            new.rename(target)
        except OSError:
            if old.exists():
                old.rename(target)
            raise
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def sha256(file: Path) -> str:
    """Digest of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """File name -> digest of every file in a folder and below, but for the list of digests itself."""
    files = sorted(file for file in folder.rglob("*") if file.is_file() and file != folder / SUMS_FILE)
    return {file.relative_to(folder).as_posix(): sha256(file) for file in files}


def write_sums(folder: Path) -> None:
    """Write `SHA256SUMS`, in the form that `sha256sum --check` reads."""
    lines = [f"{digest}  {name}\n" for name, digest in digests(folder).items()]
    (folder / SUMS_FILE).write_text("".join(lines), encoding="utf-8")


def damaged_files(folder: Path) -> list[str]:
    """Names of files that are missing or differ from `SHA256SUMS`; empty when all is well or nothing is listed."""
    sums = folder / SUMS_FILE
    if not sums.is_file():
        return []
    damaged = []
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        if not (folder / name).is_file() or sha256(folder / name) != digest:
            damaged.append(name)
    return damaged
