"""The work on one image, the same in every engine: read, answer, write, commit."""

from __future__ import annotations

import errno
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat.batch.addresses import opened_by_gdal, read
from refersat.batch.job import SCENE_FROM, Job, weights_of
from refersat.batch.ledger import Ledger
from refersat.batch.rows import Unit
from refersat.batch.together import Prepared, answered, reason
from refersat.errors import UserError
from refersat.threads import limit_threads

if TYPE_CHECKING:
    from refersat.imagery import Image
    from refersat.result import Result

MOST_ATTEMPTS = 3
"""Work on an image that ended its process so often is not begun again."""

_AHEAD = 2  # images read while the model works
_MOST_WAITING = 16_000_000  # pixels of answers that wait to be written, or for others, 5 bytes each
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # no row's fault


@dataclass(frozen=True)
class Outcome:
    """What became of a unit.

    Attributes:
        name: its name.
        phrases: how many questions it has.
        error: why it failed; None if it did not.
        seconds: of work on it: reading and writing, which go on beside other work, and answering.
        again: whether it was done before, by somebody else.
    """

    name: str
    phrases: int
    error: str | None = None
    seconds: float = 0.0
    again: bool = False


class Worker:
    """A loaded model that answers units into the batch's folder.

    Args:
        job: what to do.

    Raises:
        UserError: the model cannot be loaded or is another one here, or the batch's folder cannot be seen.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._ledger = Ledger(job.out)
        if not self._ledger.work.is_dir():
            raise UserError(
                f"{socket.gethostname()} does not see {job.out}: give an --out on storage that all machines share, "
                f"under the same path"
            )
        if job.weights and weights_of(job.model) != dict(job.weights):
            raise UserError(f"{socket.gethostname()} has another model under the name {job.model}: install the same")
        if job.threads is not None:
            limit_threads(job.threads)
        self._segmenter = job.load(job)

    def run(self, units: Iterable[Unit]) -> Iterator[Outcome]:
        """Answer units; while the model works, the next images are read and the last one's files are written.

        What became of a unit is told when the next one is answered, at the latest: its files may be there before.
        Units whose last attempt ended a process come first and one by one, so that no other is blamed for them.

        Raises:
            UserError: the batch's folder cannot be written to.
        """
        from refersat.scene.prefetch import prefetched

        waiting = []
        for unit in units:
            if self._ledger.is_done(unit):
                yield Outcome(unit.name, len(unit.phrases), again=True)
            else:
                waiting.append((self._ledger.attempts(unit), unit))
        begun: dict[str, Unit] = {}
        try:
            for attempts, unit in waiting:
                if attempts >= MOST_ATTEMPTS:
                    yield self._give_up(unit, attempts)
                elif attempts:
                    yield self._finish(self._prepare(unit, begun), begun)
            fresh = (self._prepare(unit, begun) for attempts, unit in waiting if not attempts)
            with prefetched(fresh, _AHEAD) as ready, ThreadPoolExecutor(1, "refersat-write") as writer:
                yield from self._pipelined(ready, begun, writer)
        finally:  # stopped in good order: nobody died of these
            for unit in begun.values():
                self._ledger.withdraw(unit)

    def _pipelined(
        self, ready: Iterable[Prepared], begun: dict[str, Unit], writer: ThreadPoolExecutor
    ) -> Iterator[Outcome]:
        writing: Future[Outcome] | None = None
        for prepared in answered(ready, self._stream, _MOST_WAITING):
            if writing is not None:
                yield writing.result()
                writing = None
            if prepared.results is None:  # the model is still to work on it, or there is next to nothing to write
                yield self._finish(prepared, begun)
            else:
                writing = writer.submit(self._finish, prepared, begun)
        if writing is not None:
            yield writing.result()

    def measure(self, unit: Unit, scratch: Path) -> tuple[str | None, float]:
        """Answer a unit without keeping anything; its error, and the seconds it took."""
        began = time.perf_counter()
        try:
            self._answer(Prepared(unit, image=self._read(unit, scratch)), scratch)
        except Exception as error:
            return reason(error), time.perf_counter() - began
        return None, time.perf_counter() - began

    def _prepare(self, unit: Unit, begun: dict[str, Unit]) -> Prepared:
        began = time.perf_counter()
        begun[unit.name] = unit
        self._ledger.attempt(unit)
        image, error = None, None
        try:
            image = self._read(unit, self._ledger.work)
        except Exception as failure:
            error = reason(failure)
        return Prepared(unit, time.perf_counter() - began, image, error)

    def _read(self, unit: Unit, scratch: Path) -> Image | None:
        """The image; None for a scene, which is read window by window."""
        if self._is_scene(unit.image):
            return None
        return read(unit.image, self._job.bands, scratch)

    def _is_scene(self, address: str) -> bool:
        if self._job.kind == "scene" and not opened_by_gdal(address):
            raise UserError(f"a scene is a file or an address that GDAL opens, not {address}")
        if self._job.kind != "auto" or not opened_by_gdal(address):
            return self._job.kind == "scene"
        from rasterio.errors import RasterioError

        from refersat.rasters import open_raster

        try:
            with open_raster(address)[0] as dataset:
                return bool(max(dataset.width, dataset.height) > SCENE_FROM)
        except RasterioError:
            return False  # Pillow may read it

    def _finish(self, prepared: Prepared, begun: dict[str, Unit]) -> Outcome:
        began = time.perf_counter() - prepared.seconds
        unit, error = prepared.unit, prepared.error
        is_scene = prepared.image is None
        if error is None:
            with self._ledger.workplace(unit, shared=is_scene) as place:
                try:
                    answers = self._answer(prepared, place)
                except Exception as failure:
                    if getattr(failure.__cause__ or failure, "errno", None) in _NO_ROOM:
                        raise
                    error = reason(failure)
                else:
                    kind = "scene" if is_scene else "image"
                    self._commit(unit, place, began, {"kind": kind, "error": None, "answers": answers})
        if error is not None:
            with self._ledger.workplace(unit) as place:
                self._commit(unit, place, began, {"kind": None, "error": error, "answers": []})
        begun.pop(unit.name, None)
        return Outcome(unit.name, len(unit.phrases), error, time.perf_counter() - began)

    def _commit(self, unit: Unit, place: Path, began: float, record: dict[str, Any]) -> None:
        about = {"seconds": round(time.perf_counter() - began, 4), "host": socket.gethostname()}
        self._ledger.commit(unit, place, record | about)

    def _give_up(self, unit: Unit, attempts: int) -> Outcome:
        error = f"{attempts} processes died at work on it (out of memory, or a damaged file that crashes its reader?)"
        return self._finish(Prepared(unit, error=error), {})

    def _answer(self, prepared: Prepared, place: Path) -> list[dict[str, Any]]:
        if prepared.image is None:
            return self._answer_scene(prepared.unit, place)
        results: Iterable[Result] | None = prepared.results
        if results is None:
            results = self._stream((prepared.image, phrase) for phrase in prepared.unit.phrases)
        return self._write(prepared.unit, results, place)

    def _stream(self, questions: Iterable[tuple[Image, str]]) -> Iterator[Result]:
        return self._segmenter.stream(questions, threshold=self._job.threshold, batch_size=self._job.batch_size)

    def _write(self, unit: Unit, results: Iterable[Result], place: Path) -> list[dict[str, Any]]:
        from refersat.answer_files import write_answers

        written = write_answers(results, unit.image, place / unit.stem)
        return [
            {
                **one.item,
                "mask": Path(one.item["mask"]).name,
                "polygons": f"{unit.stem}.geojson",
                "area": round(one.area, 2),
                "area_unit": one.area_unit,
            }
            for one in written
        ]

    def _answer_scene(self, unit: Unit, place: Path) -> list[dict[str, Any]]:
        from refersat.scene.scene import Scene

        began = time.perf_counter()
        job = self._job
        with Scene(unit.image, bands=job.bands, stretch=job.stretch) as scene:

            def segment() -> Sequence[Any]:
                return scene.segment(
                    unit.phrases, place, segmenter=self._segmenter, options=job.scene, resume=has_parts
                )

            has_parts = any(place.iterdir())
            try:
                found = segment()
            except UserError:
                if not has_parts:
                    raise
                shutil.rmtree(place)  # of a worker with another device, say
                place.mkdir()
                has_parts = False
                found = segment()
        for left in place.glob(".*"):  # by a process that was killed here
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        seconds = round((time.perf_counter() - began) / len(found), 4)
        return [
            {
                "image": unit.image,
                "phrase": one.phrase,
                "model": self._segmenter.name,
                "present": one.objects > 0,
                "score": round(one.score, 4),
                "area_px": one.pixels,
                "mask": one.mask.name,
                "seconds": seconds,
                "polygons": one.vectors.name,
                "area": one.pixels if one.area_m2 is None else round(one.area_m2, 2),
                "area_unit": "px" if one.area_m2 is None else "m2",
            }
            for one in found
        ]
