"""A scene, and the run that finds phrases in it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from refersat import __version__
from refersat.errors import UserError
from refersat.output import output_folder, write_file
from refersat.question import check_phrase
from refersat.radiometry import STRETCH_PERCENTILES, Stretch
from refersat.scene.blend import FULL
from refersat.scene.choice import Choice
from refersat.scene.cog import Frame, Layer, virtual_raster
from refersat.scene.options import SceneOptions
from refersat.scene.outputs import Found, Paths, Run, write_outputs
from refersat.scene.parts import Parts
from refersat.scene.reader import SceneReader
from refersat.scene.strategy import Advance, Band, Look, Strategy, make_strategy
from refersat.scene.vectors import require_library
from refersat.scene.window import Window

if TYPE_CHECKING:
    from refersat.segmenter import Segmenter

Watch: TypeAlias = Callable[[str, int], AbstractContextManager[Advance]]
"""Shows a stage's title and how many steps it has; what it gives is an `Advance`."""

_TO_8_BIT = ((np.arange(FULL + 1, dtype=np.uint32) + 128) // 257).astype(np.uint8)


@contextmanager
def unwatched(title: str, steps: int) -> Iterator[Advance]:
    """Shows nothing."""
    yield lambda pixels: None


class Scene:
    """A georeferenced image of any size; a context manager.

        with refersat.Scene("harbour.tif") as scene:
            for found in scene.segment(["all ships"], "found", segmenter=refersat.load("built-in")):
                print(found.phrase, found.objects, found.mask, found.vectors)

    Args:
        scene: a file, an address (http://, https://, s3://) or the file of a STAC item.
        bands: one or three band numbers from 1 to take as red, green and blue; the file's own choice when None.
        stretch: "percentile", "none" or (low, high): what becomes 0..255, the same everywhere in the scene; when None,
            8-bit values stay as they are and others are stretched by percentile.
        nodata: a pixel that has this value in all of the bands does not count, as if the file said so.
        aoi: a file of polygons to stay inside of.
        asset: which asset of a STAC item.
        name: what messages and outputs call it; its address when None.
        drivers: GDAL's, one of which must read it; any when None.

    Raises:
        UserError: there is no such scene, it cannot be read, or it has no place that refersat can use.
    """

    def __init__(
        self,
        scene: str | Path,
        *,
        bands: Sequence[int] | None = None,
        stretch: Stretch = None,
        nodata: float | None = None,
        aoi: str | Path | None = None,
        asset: str | None = None,
        name: str | None = None,
        drivers: Sequence[str] | None = None,
    ) -> None:
        self.reader = SceneReader(
            scene, bands=bands, stretch=stretch, nodata=nodata, asset=asset, name=name, drivers=drivers
        )
        self._stretch = stretch
        if aoi is not None:
            from refersat.scene.area import read_area

            try:
                self.reader.limit_to(read_area(Path(aoi), self.reader))
            except BaseException:
                self.close()
                raise

    def segment(
        self,
        phrases: Sequence[str],
        out: str | Path,
        *,
        segmenter: Segmenter,
        options: SceneOptions | None = None,
        resume: bool = False,
        watch: Watch = unwatched,
        say: Callable[[str], None] = lambda line: None,
    ) -> list[Found]:
        """Find phrases and write `<stem>-<k>.tif` for each (0 and 255) and `<stem>.gpkg` for all.

        Memory depends on the scene's width times the tile, for each phrase, and not on its height. What is finished is
        kept in `out` while it runs, and shown by `<stem>-<k>.partial.vrt`.

        Args:
            phrases: in English.
            out: a folder, made if missing.
            segmenter: from `refersat.load`.
            options: how to look and what to write.
            resume: go on with a run that was stopped; begin where there is none.
            watch: shows how far it is.
            say: gets lines that the user should read.

        Returns:
            What was found, for each phrase.

        Raises:
            UserError: something of the above makes no sense, or the folder cannot be written to.
        """
        options = options or SceneOptions()
        if isinstance(phrases, str) or not phrases:
            raise UserError("segment takes a list of phrases, at least one")
        plain = [check_phrase(phrase) for phrase in phrases]
        require_library(options.format)
        reader = self.reader
        if options.min_area and reader.ground.area_unit != "m2":
            raise UserError(
                f"--min-area needs square metres, but {reader.name} has no CRS that places it on the ground"
            )
        paths = Paths(Path(out), reader.source.stem, options)
        _require_other_files(paths, len(plain), reader)
        choice, strategy = make_strategy(Look(reader, segmenter, plain, options, paths.parts))
        weights, descriptions = _weights(segmenter)
        run = self._describe(choice.name, strategy, segmenter, weights, options)
        with output_folder(paths.folder):
            parts = Parts(paths.parts, reader.extent)
            parts.begin(self._fingerprint(plain, run, segmenter, descriptions, options), resume=resume)
            for line in self._remarks(choice, options):
                say(line)
            done = parts.finished_rows
            if done:
                say(f"going on at row {int(reader.extent.y) + done:,} of {reader.height:,}")
            if done < reader.extent.height:
                with watch("Looking", strategy.steps) as advance:
                    limit = int((segmenter.threshold if options.threshold is None else options.threshold) * FULL)
                    for band in strategy.bands(done, advance):
                        self._keep(parts, band, limit)
                        _show(paths, parts, plain, run)
            with watch("Outlining", len(plain)) as advance:
                found = []
                for one in write_outputs(paths, parts, plain, run):
                    found.append(one)
                    advance(0.0)
            for number in range(1, len(plain) + 1):
                paths.partial(number).unlink(missing_ok=True)
            parts.remove()
        return found

    def _remarks(self, choice: Choice, options: SceneOptions) -> Iterator[str]:
        """What the user should know before it begins."""
        reader = self.reader
        if options.strategy == "auto":
            yield f"auto takes {choice.name}: {choice.reason}"
        if choice.warning:
            yield f"warning: {choice.warning}"
        if reader.collar is not None:
            value = f"{reader.collar.value:g}"
            yield (
                f"warning: {reader.collar.share:.0%} of {reader.name}, up to a corner, is {value} in every band and "
                f"counts as picture; if it is a border without data, add --nodata {value}"
            )
        if not reader.placed or reader.ground.area_unit != "m2":
            yield _about_place(reader)

    def _keep(self, parts: Parts, band: Band, limit: int) -> None:
        """Write a band of answers; a pixel is foreground above `limit`."""
        extent = self.reader.extent
        row = int(extent.y) + band.row
        valid = self.reader.read_valid(Window(extent.x, row, extent.width, band.stop - band.row))
        answers = [((values > np.uint16(limit)) & valid, _TO_8_BIT[values] * valid) for values in band.probability]
        parts.write(row, valid, answers, band.scores)

    def _describe(
        self, name: str, strategy: Strategy, segmenter: Segmenter, weights: str, options: SceneOptions
    ) -> Run:
        reader = self.reader
        gsd = "unknown" if reader.gsd is None else f"{sum(reader.gsd) / 2 / strategy.scale:.4g} m"
        tags = {
            "MODEL": segmenter.name,
            "WEIGHTS_SHA256": weights,
            "THRESHOLD": f"{segmenter.threshold if options.threshold is None else options.threshold:.4g}",
            "GSD": gsd,
            "STRETCH": self._stretch_text(),
            "BANDS": ",".join(map(str, reader.bands)),
            **({} if reader.nodata is None else {"NODATA": f"{reader.nodata:g}"}),
            "STRATEGY": name,
            "TILE": str(options.tile),
            "OVERLAP": f"{options.overlap:g}",
            "SOURCE": reader.name,
            "REFERSAT": __version__,
        }
        frame = Frame(reader.width, reader.height, reader.crs_wkt, reader.transform if reader.placed else None)
        whole = reader.extent == Window(0, 0, reader.width, reader.height)
        return Run(frame, reader.ground, reader.has_holes or not whole, reader.name, segmenter.name, tags)

    def _stretch_text(self) -> str:
        ranges = self.reader.radiometry.ranges
        if ranges is None:
            return "none"
        shown = "; ".join(f"{low:.6g},{high:.6g}" for low, high in ranges)
        if self._stretch in (None, "percentile"):
            low, high = STRETCH_PERCENTILES
            return f"percentile {low:g} to {high:g}: {shown}"
        return shown

    def _fingerprint(
        self,
        phrases: Sequence[str],
        run: Run,
        segmenter: Segmenter,
        descriptions: Mapping[str, str],
        options: SceneOptions,
    ) -> dict[str, Any]:
        """All that the pixels of a run depend on."""
        reader = self.reader
        scene: list[Any] = [reader.name, reader.width, reader.height]
        if not reader.source.remote:
            about = Path(reader.source.address).stat()
            scene = [os.path.realpath(reader.source.address), *scene[1:], about.st_size, about.st_mtime_ns]
        return {
            "the version of refersat": __version__,
            "the scene": scene,
            "the phrases": list(phrases),
            "the model": [segmenter.name, run.tags["WEIGHTS_SHA256"], dict(descriptions)],
            "the device": [segmenter.device.type, segmenter.number_format],
            "the area of interest": None if reader.area is None else reader.area.wkt,
            "the radiometry": [run.tags["BANDS"], run.tags["STRETCH"]],
            "--nodata": reader.nodata,
            "the strategy": run.tags["STRATEGY"],
            **{f"--{name.replace('_', '-')}": value for name, value in options.deciding().items()},
        }

    def close(self) -> None:
        """Give the file back."""
        self.reader.close()

    def __enter__(self) -> Scene:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _weights(segmenter: Segmenter) -> tuple[str, dict[str, str]]:
    """The digest of the weights, and those of the files that describe the model."""
    if segmenter.folder is None:
        return "unknown", {}
    from refersat.models.identity import model_files, weights_digest

    weights, descriptions = model_files(segmenter.folder)
    return weights_digest(weights), descriptions


def _show(paths: Paths, parts: Parts, phrases: Sequence[str], run: Run) -> None:
    """Let what is finished be looked at."""
    for number, phrase in enumerate(phrases, start=1):
        view = paths.partial(number)
        folder = f"{parts.folder.name}/"
        layer = Layer(Parts.mask_band(number))
        write_file(view, virtual_raster(parts, layer, run.frame, run.tags_of(phrase), holes=True, folder=folder))


def _require_other_files(paths: Paths, phrases: int, reader: SceneReader) -> None:
    if reader.source.remote:
        return
    scene = os.path.realpath(reader.source.address)
    for path in paths.all(phrases):
        if os.path.realpath(path) == scene:
            raise UserError(f"{path.name} would overwrite the scene: give another --out")


def _about_place(reader: SceneReader) -> str:
    if reader.crs_wkt is None:
        where = "pixels (x right, y down)" if not reader.placed else "the file's own transform"
        return f"{reader.name} has no CRS: polygons are in {where}, and areas in square metres are not known"
    return (
        f"the CRS of {reader.name} has no known place on the ground: polygons are in its own coordinates (GeoJSON: in "
        f"pixels), and areas in square metres are not known"
    )
