"""Bands that are needed again, and when a run goes on: kept on disk, as they are mostly nothing, in little space."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from refersat.scene.parts import Parts
from refersat.scene.strategy import Band
from refersat.scene.window import Window


class Spool:
    """The bands of a strategy on disk; a context manager.

    Args:
        extent: of the scene.
        folder: of the run, where they stay until it is done; a temporary one when None.
        name: tells them from others in that folder; without a hyphen.
    """

    def __init__(self, extent: Window, folder: Path | None = None, name: str = "search") -> None:
        self._temporary = ExitStack()
        if folder is None:
            folder = Path(self._temporary.enter_context(tempfile.TemporaryDirectory(prefix="refersat-")))
        self._parts = Parts(folder, extent)
        self._name = name

    def fill(self, bands: Callable[[int], Iterable[Band]]) -> None:
        """Keep all bands of what `bands` gives from a row on: from the first that is not there already."""
        top = int(self._parts.extent.y)
        for band in bands(self._parts.rows_of(self._name)):
            self._parts.write_piece(self._name, top + band.row, list(band.probability), scores=band.scores)

    @property
    def best(self) -> NDArray[np.float64]:
        """The highest score of each layer."""
        return np.asarray(self._parts.scores(self._name))

    @property
    def rows(self) -> list[tuple[int, int]]:
        """First row, and the one below the last, of each band."""
        top = int(self._parts.extent.y)
        return [(piece.first - top, piece.stop - top) for piece in self._parts.pieces(self._name)]

    def layer(self, number: int) -> Iterator[NDArray[np.uint16]]:
        """One layer (h, W) of each band, from top to bottom; several may be read in turns."""
        for piece in self._parts.pieces(self._name):
            yield self._parts.read_piece(piece, number + 1)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._temporary.close()
