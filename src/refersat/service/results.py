"""Results on disk, and the files that are made of them when somebody wants one."""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling

from refersat.overlay import LONGEST_SIDE, draw_overlay
from refersat.rasters import unplaced_is_fine
from refersat.scene.objects import Strip
from refersat.service.display import png, reduced
from refersat.service.grids import Layer, read_strips, write_grid, write_polygons
from refersat.service.problems import Problem
from refersat.service.records import AnswerRecord, ResultRecord

_DAY = 86_400.0
_LOCKS = 64


@dataclass(frozen=True)
class Made:
    """A file for a user.

    Attributes:
        path: where it is.
        once: whether it was made for one request and goes with `remove`.
    """

    path: Path
    once: bool = False

    def remove(self) -> None:
        """Delete it, if it was made for one request."""
        if self.once:
            shutil.rmtree(self.path.parent, ignore_errors=True)


def _made_for_once(name: str, write: Callable[[Path], None]) -> Made:
    made = Made(Path(tempfile.mkdtemp(prefix="refersat-")) / name, once=True)
    try:
        write(made.path)
    except BaseException:
        made.remove()
        raise
    return made


class Results:
    """A folder with one folder for each result.

    Args:
        folder: made if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    def folder_of(self, identifier: str) -> Path:
        """Where a result is, or would be. Only names that `new_id` gave may come here."""
        return self._folder / identifier

    def find(self, identifier: str, tenant: str) -> ResultRecord:
        """A tenant's result.

        Raises:
            Problem: 404, there is none.
        """
        # What users send is compared with what there is and never becomes a path by itself.
        known = identifier.replace("-", "").isalnum() and identifier.isascii()
        record = ResultRecord.read(self.folder_of(identifier)) if known else None
        if record is None or record.tenant != tenant:
            raise Problem(404, f"there is no result {identifier!r}: it was never made or kept, or it was deleted since")
        return record

    def drop(self, identifier: str) -> None:
        """Delete a result."""
        shutil.rmtree(self.folder_of(identifier), ignore_errors=True)

    def drop_old(self, days: float, keep: Sequence[str]) -> None:
        """Delete what was made longer ago, but those in `keep`."""
        for folder in self._folder.iterdir():
            if folder.name not in keep and folder.stat().st_mtime < time.time() - days * _DAY:
                shutil.rmtree(folder, ignore_errors=True)

    def answer(self, record: ResultRecord, number: int) -> AnswerRecord:
        """What was found for one phrase.

        Raises:
            Problem: 404, it has no such phrase.
        """
        if not 1 <= number <= len(record.answers):
            raise Problem(404, f"result {record.id} has {len(record.answers)} phrases, and none is number {number}")
        return record.answers[number - 1]

    def polygons(self, record: ResultRecord, kind: str, number: int | None, threshold: float | None) -> Made:
        """A file of polygons (`geojson` or `gpkg`) of one phrase, or of all."""
        numbers = range(1, len(record.answers) + 1) if number is None else [number]
        layers = [Layer(self.answer(record, one).phrase, self._strips(record, one, threshold)) for one in numbers]

        def write(path: Path) -> None:
            write_polygons(path, layers, record.frame, name=record.name, model=record.model, min_area=record.min_area)

        if threshold is None:
            path = self.folder_of(record.id) / f"polygons{'' if number is None else f'-{number}'}.{kind}"
            with self._locks[hash(record.id) % _LOCKS]:
                if not path.is_file():
                    write(path)
            return Made(path)
        return _made_for_once(f"polygons.{kind}", write)

    def mask(self, record: ResultRecord, number: int, threshold: float | None) -> Made:
        """A mask as a Cloud Optimized GeoTIFF."""
        answer = self.answer(record, number)
        if threshold is None:
            return Made(self.folder_of(record.id) / answer.mask)
        tags = {"PHRASE": answer.phrase, "MODEL": record.model, "THRESHOLD": f"{threshold:.4g}", "SOURCE": record.name}
        rows = ((one.row, one.mask * np.uint8(255), counts) for one, counts in self._read(record, number, threshold))
        return _made_for_once("mask.tif", lambda path: write_grid(path, rows, record.frame, tags, smooth=False))

    def overlay(self, record: ResultRecord, number: int, threshold: float | None, image: NDArray[np.uint8]) -> bytes:
        """A PNG of an image (h, w, 3) of the scene, of any size, with the mask on it and a caption."""
        answer = self.answer(record, number)
        size = (image.shape[1], image.shape[0])
        folder = self.folder_of(record.id)
        if threshold is None:
            mask = _read_at(folder / answer.mask, size) > 127
        else:
            mask = _read_at(folder / answer.probability, size) > 255 * threshold
        stream = BytesIO()
        picture = draw_overlay(image, mask, phrase=answer.phrase, score=answer.score, present=bool(mask.any()))
        picture.save(stream, "PNG")
        return stream.getvalue()

    def probability(self, record: ResultRecord, number: int, side: int | None, most_pixels: int) -> bytes:
        """Probabilities as a grey PNG, 0 to 255, reduced where asked for or too large."""
        size = reduced(record.width, record.height, side, most_pixels)
        return png(_read_at(self.folder_of(record.id) / self.answer(record, number).probability, size))

    def probability_file(self, record: ResultRecord, number: int) -> Path:
        """The raster of probabilities, 0 to 255."""
        return self.folder_of(record.id) / self.answer(record, number).probability

    def _strips(self, record: ResultRecord, number: int, threshold: float | None) -> Iterator[Strip]:
        return (strip for strip, _ in self._read(record, number, threshold))

    def _read(
        self, record: ResultRecord, number: int, threshold: float | None
    ) -> Iterator[tuple[Strip, NDArray[np.bool_]]]:
        answer, folder = self.answer(record, number), self.folder_of(record.id)
        return read_strips(folder / answer.mask, folder / answer.probability, threshold)


def overlay_size(record: ResultRecord) -> tuple[int, int]:
    """Width and height at which a scene is read for its overlay."""
    return reduced(record.width, record.height, LONGEST_SIDE, LONGEST_SIDE**2)


def _read_at(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The first band (h, w) at a size (w, h); 0 where pixels do not count."""
    with unplaced_is_fine(), rasterio.open(path) as dataset:
        shape = (size[1], size[0])
        whole = size == (dataset.width, dataset.height)
        how = Resampling.nearest if whole else Resampling.average
        values: NDArray[np.uint8] = dataset.read(1, out_shape=shape, resampling=how)
        return values * (dataset.read_masks(1, out_shape=shape) > 0)
