"""Finished bands of rows on disk: what a stopped run has, what it goes on from, and what the outputs are made of.

Each band is one small GeoTIFF: it is there whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.windows
from numpy.typing import NDArray
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from refersat.errors import UserError
from refersat.output import write_file
from refersat.rasters import open_raster, unplaced_is_fine
from refersat.scene.window import Window

BLOCK = 512
"""Pixels of a part's inner tiles."""

_JOURNAL = "journal.json"
_SCORES = "SCORES"
_ROWS = "rows"  # what finished bands are called


@dataclass(frozen=True)
class Piece:
    """A file with some full rows of the extent: `first` to just before `stop`, counted in the scene."""

    first: int
    stop: int
    path: Path


class Parts:
    """The finished bands of the scene's extent, in a folder.

    Each has as its bands: where the scene counts (0 or 255), then mask (0 or 255) and probability (0 to 255) of each
    phrase.

    Args:
        folder: made by `begin`.
        extent: of the scene, in whole pixels.
    """

    VALID = 1

    def __init__(self, folder: Path, extent: Window) -> None:
        self.folder = folder
        self.extent = extent

    @staticmethod
    def mask_band(number: int) -> int:
        """Which band is the mask of a phrase, numbered from 1."""
        return 2 * number

    @staticmethod
    def probability_band(number: int) -> int:
        """Which band is the probability of a phrase, numbered from 1."""
        return 2 * number + 1

    def begin(self, fingerprint: Mapping[str, Any], *, resume: bool) -> None:
        """Make the folder ready for a run whose pixels depend on `fingerprint`, which JSON can hold.

        Raises:
            UserError: another unfinished run is in it, or it cannot be written to.
        """
        journal = self.folder / _JOURNAL
        known = json.loads(json.dumps(fingerprint))
        if not journal.is_file():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"cannot write to {self.folder}: {error.strerror or error}") from error
            write_file(journal, (json.dumps(known, indent=2) + "\n").encode())
            return
        if not resume:
            raise UserError(f"{self.folder} holds an unfinished run: add --resume to go on with it, or delete it")
        found = _read_journal(journal)
        changed = sorted(name for name in {*known, *found} if known.get(name) != found.get(name))
        if changed:
            raise UserError(
                f"cannot go on with the run in {self.folder}: {', '.join(changed)} changed since it began; give what "
                f"it was, or delete that folder to begin anew"
            )

    def write(
        self,
        row: int,
        valid: NDArray[np.bool_],
        answers: Sequence[tuple[NDArray[np.bool_], NDArray[np.uint8]]],
        scores: Sequence[float],
    ) -> None:
        """Keep a band.

        Args:
            row: of the scene, its first.
            valid: (h, w), where the scene counts.
            answers: of each phrase, mask and probability (h, w).
            scores: of each phrase.

        Raises:
            UserError: the disk is full, or does not allow it.
        """
        layers = [valid * np.uint8(255)]
        for mask, probability in answers:
            layers += [mask * np.uint8(255), probability]
        self.write_piece(_ROWS, row, layers, scores=scores)

    def write_piece(self, kind: str, row: int, layers: Sequence[NDArray[Any]], *, scores: Sequence[float] = ()) -> None:
        """Write full rows (h, w) of the extent, from `row` of the scene on, as one file with a band for each layer.

        Raises:
            UserError: the disk is full, or does not allow it.
        """
        height, width = layers[0].shape
        path = self.folder / f"{kind}-{row:09d}-{row + height:09d}.tif"
        shape = {"height": height, "width": width, "count": len(layers), "dtype": layers[0].dtype}
        options = {"tiled": True, "blockxsize": BLOCK, "blockysize": BLOCK, "compress": "deflate", "zlevel": 1}
        # By way of memory: what GDAL cannot write when it closes a file, on a full disk, it says to nobody.
        with unplaced_is_fine(), MemoryFile() as memory:
            with memory.open(driver="GTiff", bigtiff="if_safer", **shape, **options) as target:
                for number, layer in enumerate(layers, start=1):
                    target.write(layer, number)
                target.update_tags(**{_SCORES: json.dumps([round(score, 6) for score in scores])})
            write_file(path, memory.getbuffer())

    def pieces(self, kind: str = _ROWS) -> list[Piece]:
        """What there is, from the top of the extent on without a gap."""
        found: list[Piece] = []
        expected = int(self.extent.y)
        for path in sorted(self.folder.glob(f"{kind}-?????????-?????????.tif")):
            first, stop = (int(part) for part in path.stem.rsplit("-", 2)[1:])
            if first != expected:
                break
            found.append(Piece(first, stop, path))
            expected = stop
        return found

    @property
    def finished_rows(self) -> int:
        """Rows of the extent that are done."""
        return self.rows_of(_ROWS)

    def rows_of(self, kind: str) -> int:
        """Rows of the extent that pieces of a kind have."""
        pieces = self.pieces(kind)
        return pieces[-1].stop - int(self.extent.y) if pieces else 0

    def read(self, bands: Sequence[int], rows: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """The bands (len(bands), h, w), at most `rows` rows at a time, each time with its first row in the scene."""
        for piece in self.pieces():
            with _opened(piece.path) as part:
                for first in range(0, piece.stop - piece.first, rows):
                    high = min(rows, piece.stop - piece.first - first)
                    window = rasterio.windows.Window(0, first, part.width, high)
                    yield piece.first + first, part.read(list(bands), window=window)

    def read_piece(self, piece: Piece, band: int) -> NDArray[Any]:
        """One band (h, w) of a piece."""
        with _opened(piece.path) as part:
            values: NDArray[Any] = part.read(band)
        return values

    def scores(self, kind: str = _ROWS) -> list[float]:
        """Of each layer that was scored the best score of all pieces."""
        tables = []
        for piece in self.pieces(kind):
            with _opened(piece.path) as part:
                tables.append(json.loads(part.tags()[_SCORES]))
        return [max(column) for column in zip(*tables, strict=True)]

    def remove(self) -> None:
        """Delete the folder with all that is in it."""
        shutil.rmtree(self.folder)


def _opened(path: Path) -> Any:
    try:
        return open_raster(str(path))[0]
    except RasterioError as error:
        raise UserError(f"{path} is damaged: delete it, and --resume makes it again") from error


def _read_journal(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: delete its folder to begin anew") from error
    return found if isinstance(found, dict) else {}
