"""Bands that are needed again: kept on disk, as they are mostly nothing, in little space."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Iterable, Iterator
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from refersat.scene.strategy import Band


class Spool:
    """The bands of a strategy, in a temporary file that nobody else sees; a context manager."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed with this object
        self._bands: list[tuple[int, tuple[int, ...], list[int]]] = []  # row, shape, bytes of each layer
        self.best: NDArray[np.float64] | None = None

    def fill(self, bands: Iterable[Band]) -> None:
        """Keep all bands; `best` are then the highest scores of their layers."""
        for band in bands:
            packed = [zlib.compress(layer.tobytes(), 1) for layer in band.probability]
            for one in packed:
                self._file.write(one)
            self._bands.append((band.row, band.probability.shape, [len(one) for one in packed]))
            scores = np.asarray(band.scores, float)
            self.best = scores if self.best is None else np.maximum(self.best, scores)

    @property
    def rows(self) -> list[tuple[int, int]]:
        """First row, and the one below the last, of each band."""
        return [(row, row + shape[1]) for row, shape, _ in self._bands]

    def layer(self, number: int) -> Iterator[NDArray[np.uint16]]:
        """One layer (h, W) of each band, from top to bottom; several may be read in turns."""
        offset = 0
        for _, shape, lengths in self._bands:
            self._file.seek(offset + sum(lengths[:number]))
            content = zlib.decompress(self._file.read(lengths[number]))
            yield np.frombuffer(content, np.uint16).reshape(shape[1:])
            offset += sum(lengths)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
