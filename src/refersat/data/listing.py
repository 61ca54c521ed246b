"""What all readers share: faults, splits, files that list samples, and files that must be there."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from refersat.data.samples import ALL_SPLITS, Sample, SampleSet
from refersat.errors import UserError
from refersat.question import check_phrase

T = TypeVar("T")

_FEW = 20
"""Fewer files than this are looked up one by one, more by listing their folder."""


class Faults:
    """Where a reader tells what is wrong with single samples.

    A strict reader (`evaluate`, training) stops at the first one; else (`data verify`) the sample is left out and the
    fault kept.
    """

    def __init__(self, *, strict: bool) -> None:
        self.strict = strict
        self.found: list[str] = []

    def add(self, fault: str) -> None:
        """Raise it as a UserError, or keep it."""
        if self.strict:
            raise UserError(fault)
        self.found.append(fault)

    def phrase(self, phrase: Any, place: str) -> str | None:
        """The phrase, without white space around it, or None and a fault."""
        try:
            check_phrase(phrase)
        except UserError as error:
            self.add(f"{place}: {error}")
            return None
        return str(phrase).strip()


class Listing:
    """The files that list the samples of a data set, read whole; their fingerprint goes with the samples."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def read(self, path: Path, hint: str) -> bytes:
        """The content of a file; `hint` says what to do where it is missing.

        Raises:
            UserError: it cannot be read.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}; {hint}") from None
        self._hash.update(content)
        return content

    def read_json(self, path: Path, hint: str) -> Any:
        """The content of a JSON file.

        Raises:
            UserError: it cannot be read, or is not JSON.
        """
        try:
            return json.loads(self.read(path, hint))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path} is not valid JSON: {error}") from None

    def fingerprint(self) -> str:
        """The sha256 of all that was read, in the order of reading."""
        return self._hash.hexdigest()


def check_split(split: str, known: Iterable[str], place: Path) -> None:
    """Refuse a split that a data set does not have.

    Raises:
        UserError: which ones it has.
    """
    names = sorted(set(known))
    if split != ALL_SPLITS and split not in names:
        have = f"it has {', '.join(names)} ('{ALL_SPLITS}' takes everything)" if names else "it lists no samples"
        raise UserError(f"{place} has no split {split!r}; {have}")


def of_split(split: str, items: Sequence[T], splits: Sequence[str | None], place: Path) -> list[T]:
    """The items of a split; `splits` says to which one each belongs. Where no item has one, any name takes all.

    Raises:
        UserError: there is no such split.
    """
    known = {name for name in splits if name is not None}
    if split == ALL_SPLITS or not known:
        return list(items)
    check_split(split, known, place)
    return [item for item, name in zip(items, splits, strict=True) if name == split]


def unique(ids: Iterable[str]) -> list[str]:
    """The ids, with "#2", "#3" and so on behind those that came before."""
    taken: Counter[str] = Counter()
    made = []
    for name in ids:
        taken[name] += 1
        made.append(name if taken[name] == 1 else f"{name}#{taken[name]}")
    return made


def finish(
    name: str,
    split: str,
    samples: Sequence[Sample],
    *,
    place: Path,
    listing: Listing,
    faults: Faults,
    files: Iterable[Path] = (),
) -> SampleSet:
    """The sample set; a strict reader first sees that the images and the further `files` are there.

    Raises:
        UserError: there are no samples, or files are missing.
    """
    if not samples and faults.strict:
        raise UserError(f"{place} lists no samples")
    if faults.strict:
        missing = missing_files([*(sample.image for sample in samples), *files])
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise UserError(
                f"{place} names files that are missing: {missing[0]}{more}; complete the download "
                "(`refersat data verify` lists all that is missing)"
            )
    return SampleSet(name, split, listing.fingerprint(), tuple(samples), tuple(faults.found))


def missing_files(paths: Iterable[Path]) -> list[Path]:
    """Those of the files that do not exist, in order of their names, each once.

    Folders are listed whole, which takes a fraction of the time of asking for thousands of files on a network drive.
    """
    wanted: dict[Path, set[str]] = {}
    for path in paths:
        wanted.setdefault(path.parent, set()).add(path.name)
    missing = []
    for folder, names in wanted.items():
        there = _names_in(folder) if len(names) > _FEW else set()
        # A name that was not listed may still be found: not all file systems tell "A.jpg" from "a.jpg".
        missing += [folder / name for name in names - there if not (folder / name).is_file()]
    return sorted(missing)


def _names_in(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except OSError:
        return set()
