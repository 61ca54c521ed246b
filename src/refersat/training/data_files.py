"""Which files a run learns from and is measured on, and whether they are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from refersat.data.coco import CocoFile
from refersat.data.samples import Sample
from refersat.errors import UserError
from refersat.training.recipe import OutlineData
from refersat.training.setup import Setup

_PIECE = 2**14
"""Bytes that are looked at of each file: so many from its beginning, its middle and its end.

Whatever is compressed differs in its end, or in its size, wherever a pixel was changed: a PNG's checksums lie there.
A change in the middle of an uncompressed file may go unseen. No run has to wait until hundreds of gigabytes are read.
"""


def files_of(setup: Setup) -> list[Path]:
    """Images and masks, each once; what lists them is not among them, `Setup.fingerprint` is about that."""
    samples: list[Sample] = list(setup.validation)
    files: list[Path] = []
    if isinstance(setup.source, CocoFile):
        assert isinstance(setup.recipe.data, OutlineData)
        files += [setup.recipe.data.images / scene.file_name for scene in setup.source.images]
    else:
        samples += setup.source.train
    files += [file for sample in samples for file in (sample.image, sample.mask_file) if file is not None]
    return sorted(set(files))


def fingerprint(files: Iterable[Path]) -> str:
    """sha256 of the names and sizes of files, and of three pieces of each; wherever they lie, and whenever written.

    Raises:
        UserError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            size = path.stat().st_size
            digest.update(f"{path.name}\0{size}\0".encode(errors="surrogateescape"))
            with path.open("rb") as file:
                for start in sorted({0, max(0, (size - _PIECE) // 2), max(0, size - _PIECE)}):
                    file.seek(start)
                    digest.update(file.read(_PIECE))
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()
