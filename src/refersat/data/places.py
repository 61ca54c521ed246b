"""Where the files of a data set lie: the folder that the user names may be its top, one above it or one in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from refersat.errors import UserError

_DEPTH = 2
_LOOKED_FOR = 50
"""So many images are looked for in a folder before it is taken for another one."""


def find_listing(
    place: Path, patterns: Sequence[str], *, what: str, prefer: Sequence[str] = (), inner: Sequence[str] = ()
) -> Path:
    """The file that lists the samples.

    It lies in `place`, or up to two folders deeper; or `place` is the file, or one of the folders `inner` of the data
    set. Of several in one folder the first of `patterns` wins, of several folders at one depth one whose name is in
    `prefer`. `what` names it in messages.

    Raises:
        UserError: there is none, or it is unclear which one is meant.
    """
    if place.is_file():
        return place
    if not place.is_dir():
        raise UserError(f"{place}: no such folder")
    levels = [[place]]
    for _ in range(_DEPTH):
        levels.append([folder for parent in levels[-1] for folder in _folders_in(parent)])
    if place.name in inner:
        above = place.absolute().parent
        levels += [[above], _folders_in(above)]
    for folders in levels:
        found = [path for folder in folders if (path := _first_match(folder, patterns)) is not None]
        preferred = [path for path in found if path.parent.name.lower() in prefer] or found
        if len(preferred) > 1:
            names = ", ".join(str(path.parent) for path in preferred)
            raise UserError(f"{place} holds several data sets: give one of {names}")
        if preferred:
            return preferred[0]
    raise UserError(f"{place} holds no {what}, nor do the folders in it: give the data set's folder")


def find_image_folder(start: Path, candidates: Sequence[str], names: Iterable[str]) -> Path:
    """The folder that image names start from: one of the `candidates` in `start` or in the folder above it.

    The first one that holds any of the first images wins; where none does, the first one that exists, so that messages
    name it.
    """
    wanted = list(islice(dict.fromkeys(names), _LOOKED_FOR))
    levels = (start, start.absolute().parent)
    folders = [level / name for level in levels for name in candidates]
    there = [folder for folder in folders if folder.is_dir()]
    for folder in there:
        if any((folder / name).is_file() for name in wanted):
            return folder
    return next((folder for folder in there if folder not in levels), start)


def _first_match(folder: Path, patterns: Sequence[str]) -> Path | None:
    names = sorted(entry.name for entry in _entries(folder) if not entry.name.startswith("."))
    for pattern in patterns:
        for name in names:
            if fnmatchcase(name, pattern):
                return folder / name
    return None


def _folders_in(folder: Path) -> list[Path]:
    hidden = (".", "__MACOSX")
    return sorted(folder / e.name for e in _entries(folder) if e.is_dir() and not e.name.startswith(hidden))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []
