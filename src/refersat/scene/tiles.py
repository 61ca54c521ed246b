"""The strategies `tile` and `whole`: the model sees the scene in overlapping tiles, or all of it at once, reduced."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from refersat.errors import UserError
from refersat.imagery import Image
from refersat.scene.blend import FULL, Blender
from refersat.scene.hearing import LEAST_SCORE, Hearing, Place
from refersat.scene.plan import Axis, Grid
from refersat.scene.prefetch import prefetched
from refersat.scene.reader import Patch
from refersat.scene.rows import Line
from refersat.scene.strategy import Advance, Band, Look

WHOLE_SIDE = 1024
"""Pixels of the longer side at which a whole scene is shown to the model; none sees more."""

_BAND_ROWS = 256  # of the scene, at most, that leave at once
_AHEAD = 4  # tiles that are read in advance
_FINEST = 8.0  # pixels made from one of the scene's, along an axis
_LEAST_SIDE = 16  # pixels of the shorter side of what the model sees


class Tiles:
    """A grid over the scene's extent, cut into overlapping tiles whose probabilities are blended.

    A tile where the model's own presence rule says that the target is not there adds nothing but what goes on from its
    neighbours (`refersat.scene.hearing`); one without a single pixel that counts is not looked at.

    Args:
        look: what to work with.
        grid: the pixels in which the model works.
        tile: side of a tile in these pixels.
        overlap: share of it that neighbours see, too.
        least_score: from which on a tile may add something at all.
    """

    def __init__(self, look: Look, grid: Grid, *, tile: int, overlap: float, least_score: float = LEAST_SCORE) -> None:
        self._look = look
        self._grid = grid
        self._least_score = least_score
        self._rows = Axis.covered(grid.height, tile, overlap)
        self._columns = Axis.covered(grid.width, tile, overlap)
        self._down = Line(grid.height, round(grid.extent.height))
        self._across = Line(grid.width, round(grid.extent.width))

    @classmethod
    def tiled(cls, look: Look, *, least_score: float = LEAST_SCORE) -> Tiles:
        """At the scene's own resolution, or the one asked for.

        Raises:
            UserError: it makes no sense for the scene.
        """
        across, down = scales(look)
        options = look.options
        grid = Grid.scaled(look.extent, across, down)
        return cls(look, grid, tile=options.tile, overlap=options.overlap, least_score=least_score)

    @classmethod
    def whole(cls, look: Look) -> Tiles:
        """The whole extent as one tile, at the resolution asked for, reduced to `WHOLE_SIDE` where it is larger.

        Raises:
            UserError: it makes no sense for the scene.
        """
        across, down = scales(look)
        reduced = min(1.0, WHOLE_SIDE / max(look.extent.width * across, look.extent.height * down))
        grid = Grid.scaled(look.extent, across * reduced, down * reduced)
        return cls(look, grid, tile=max(grid.width, grid.height), overlap=0.0)

    @property
    def scale(self) -> float:
        """See `Strategy.scale`."""
        return self._grid.width / self._grid.extent.width

    @property
    def steps(self) -> int:
        """Tiles."""
        return len(self._rows.starts) * len(self._columns.starts)

    def bands(self, first_row: int, advance: Advance) -> Iterator[Band]:
        """See `Strategy.bands`."""
        rows, down = self._rows, self._down
        if first_row >= down.target:
            for _ in range(self.steps):
                advance(0.0)
            return
        begin = self._first_tile_row(first_row)
        for _ in range(begin * len(self._columns.starts)):
            advance(0.0)
        advance_px = self._grid.extent.width * self._grid.extent.height / self.steps
        hearing = self._hearing(begin)
        next_row, best = first_row, np.zeros(len(self._look.phrases))
        with prefetched(self._patches(begin), _AHEAD) as patches:
            for tile_row in range(begin, len(rows.starts)):
                best = np.maximum(best, self._add_row(tile_row, patches, hearing, lambda: advance(advance_px)))
                last = tile_row + 1 == len(rows.starts)
                hearing.end_row(last=last)
                ready = down.ready(rows.size if last else rows.starts[tile_row])
                while next_row < ready:
                    stop = min(next_row + _BAND_ROWS, ready)
                    yield Band(next_row, self._native(hearing.blender, next_row, stop), tuple(best))
                    next_row = stop
                if not last:
                    hearing.drop_before(min(down.first_needed(next_row), rows.starts[tile_row]))

    def _first_tile_row(self, first_row: int) -> int:
        """The first row of tiles on which rows of the extent from `first_row` on depend."""
        rows = self._rows
        needed = self._down.first_needed(first_row)
        seen = next(start for start in rows.starts if start + rows.tile > needed)
        # The tiles above those that see it decide what counts of their doubtful answers.
        return next(row for row, start in enumerate(rows.starts) if start + rows.tile > seen)

    def _hearing(self, begin: int) -> Hearing:
        rows = self._rows
        stride = int(np.diff(rows.starts).max(initial=0))
        options, segmenter = self._look.options, self._look.segmenter
        threshold = segmenter.threshold if options.threshold is None else options.threshold
        return Hearing(
            len(self._look.phrases),
            rows.tile + stride + 2,  # interpolating needs up to two rows above those that are finished next
            self._grid.width,
            top=rows.starts[begin],
            level=int(threshold * FULL),
            least_score=self._least_score,
        )

    def _patches(self, begin: int) -> Iterator[tuple[Place, Patch]]:
        rows, columns = self._rows, self._columns
        for row, down in zip(rows.starts[begin:], rows.weights[begin:], strict=True):
            for column, across in zip(columns.starts, columns.weights, strict=True):
                window = self._grid.window(column, row, columns.tile, rows.tile)
                yield Place(row, column, (down, across)), self._look.reader.read(window, (rows.tile, columns.tile))

    def _add_row(
        self, tile_row: int, patches: Iterator[tuple[Place, Patch]], hearing: Hearing, advance: Callable[[], None]
    ) -> NDArray[np.float64]:
        """Ask about one row of tiles and add the answers; gives each phrase's best score in it."""
        phrases = self._look.phrases
        best = np.zeros(len(phrases))
        asked: list[Place] = []

        def questions() -> Iterator[tuple[Image, str]]:
            for _ in self._columns.starts:
                place, patch = next(patches)
                assert place.row == self._rows.starts[tile_row]
                if not patch.valid.any():
                    advance()
                    continue
                asked.append(place)
                image = patch.image()
                for phrase in phrases:
                    yield image, phrase

        # A row's questions run by themselves, so that batches are the same wherever a run begins.
        answers = self._look.segmenter.probabilities(questions(), batch_size=self._look.options.batch_size)
        for number, answer in enumerate(answers):
            which, layer = divmod(number, len(phrases))
            best[layer] = max(best[layer], answer.score)
            hearing.add(layer, answer, asked[which])
            if layer + 1 == len(phrases):
                advance()
        return best

    def _native(self, blender: Blender, first: int, stop: int) -> NDArray[np.uint16]:
        """Rows first..stop of the extent, from finished rows of the grid."""
        layers = range(len(self._look.phrases))
        down, across = self._down, self._across
        if down.plain and across.plain:
            return np.stack([blender.rows(layer, first, stop) for layer in layers])
        low, high = down.first_needed(first), down.last_needed(stop)
        bands = []
        for layer in layers:
            values = blender.rows(layer, low, high + 1).astype(np.float32)
            wide = across.interpolate(values, axis=1)
            tall = down.interpolate(wide, axis=0, offset=low, first=first, stop=stop)
            bands.append(np.rint(tall).astype(np.uint16))
        return np.stack(bands)


def scales(look: Look) -> tuple[float, float]:
    """Pixels of the model's for each of the scene's, along a row and down a column."""
    wanted, own = look.options.gsd, look.reader.gsd
    if wanted is None:
        return 1.0, 1.0
    if own is None:
        raise UserError(
            f"--gsd needs to know how large a pixel of {look.reader.name} is, but it has no CRS that places it on the "
            f"ground: leave --gsd out, or assign one (gdal_edit.py -a_srs)"
        )
    across, down = own[0] / wanted, own[1] / wanted
    width, height = look.extent.width * across, look.extent.height * down
    if min(across, down) < 1 and min(width, height) < _LEAST_SIDE:
        raise UserError(f"--gsd {wanted:g} would leave {width:.1f} x {height:.1f} pixels of {look.reader.name}")
    if max(across, down) > _FINEST:
        raise UserError(
            f"--gsd {wanted:g} is more than {_FINEST:.0f} times finer than the scene ({max(own):.3g} m per pixel)"
        )
    return across, down
