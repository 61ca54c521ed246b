"""The strategies `tile` and `whole`: the model sees the scene in overlapping tiles, or all of it at once, reduced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refersat.errors import UserError
from refersat.imagery import Image
from refersat.scene.blend import Blender
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


@dataclass(frozen=True)
class _Place:
    """A tile: its place among the others, and its first pixel in the grid."""

    tile_row: int
    tile_column: int
    row: int
    column: int


class Tiles:
    """A grid over the scene's extent, cut into overlapping tiles whose probabilities are blended.

    A tile where the model's own presence rule says that the target is not there adds nothing; one without a single
    pixel that counts is not looked at.

    Args:
        look: what to work with.
        grid: the pixels in which the model works.
        tile: side of a tile in these pixels.
        overlap: share of it that neighbours see, too.
    """

    def __init__(self, look: Look, grid: Grid, *, tile: int, overlap: float) -> None:
        self._look = look
        self._grid = grid
        self._rows = Axis.covered(grid.height, tile, overlap)
        self._columns = Axis.covered(grid.width, tile, overlap)
        self._down = Line(grid.height, round(grid.extent.height))
        self._across = Line(grid.width, round(grid.extent.width))

    @classmethod
    def tiled(cls, look: Look) -> Tiles:
        """At the scene's own resolution, or the one asked for.

        Raises:
            UserError: it makes no sense for the scene.
        """
        across, down = scales(look)
        options = look.options
        return cls(look, Grid.scaled(look.extent, across, down), tile=options.tile, overlap=options.overlap)

    @classmethod
    def whole(cls, look: Look) -> Tiles:
        """The whole extent as one tile, reduced to `WHOLE_SIDE` where it is larger."""
        scale = min(1.0, WHOLE_SIDE / max(look.extent.width, look.extent.height))
        grid = Grid.scaled(look.extent, scale, scale)
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
            return
        needed = down.first_needed(first_row)
        begin = next(row for row, start in enumerate(rows.starts) if start + rows.tile > needed)
        layers = len(self._look.phrases)
        # Interpolating needs up to two rows above those that are finished next.
        blender = Blender(layers, rows.tile + 2, self._grid.width, top=rows.starts[begin])
        advance_px = self._grid.extent.width * self._grid.extent.height / self.steps
        for _ in range(begin * len(self._columns.starts)):
            advance(0.0)
        next_row = first_row
        with prefetched(self._patches(begin), _AHEAD) as patches:
            for tile_row in range(begin, len(rows.starts)):
                scores = self._add_row(tile_row, patches, blender, lambda: advance(advance_px))
                last = tile_row + 1 == len(rows.starts)
                ready = down.ready(rows.size if last else rows.starts[tile_row + 1])
                while next_row < ready:
                    stop = min(next_row + _BAND_ROWS, ready)
                    yield Band(next_row, self._native(blender, next_row, stop), tuple(scores))
                    next_row = stop
                if not last:
                    blender.drop_before(min(down.first_needed(next_row), rows.starts[tile_row + 1]))

    def _patches(self, begin: int) -> Iterator[tuple[_Place, Patch]]:
        size = (self._rows.tile, self._columns.tile)
        for tile_row in range(begin, len(self._rows.starts)):
            for tile_column, column in enumerate(self._columns.starts):
                row = self._rows.starts[tile_row]
                window = self._grid.window(column, row, self._columns.tile, self._rows.tile)
                yield _Place(tile_row, tile_column, row, column), self._look.reader.read(window, size)

    def _add_row(
        self, tile_row: int, patches: Iterator[tuple[_Place, Patch]], blender: Blender, advance: Callable[[], None]
    ) -> NDArray[np.float64]:
        """Ask about one row of tiles and add the answers; gives each phrase's best score in it."""
        phrases = self._look.phrases
        best = np.zeros(len(phrases))
        asked: list[_Place] = []

        def questions() -> Iterator[tuple[Image, str]]:
            for _ in self._columns.starts:
                place, patch = next(patches)
                assert place.tile_row == tile_row
                if not patch.valid.any():
                    advance()
                    continue
                asked.append(place)
                image = Image(rgb=patch.pixels, valid=None if patch.valid.all() else patch.valid)
                for phrase in phrases:
                    yield image, phrase

        # A row's questions run by themselves, so that batches are the same wherever a run begins.
        answers = self._look.segmenter.probabilities(questions(), batch_size=self._look.options.batch_size)
        for number, answer in enumerate(answers):
            which, layer = divmod(number, len(phrases))
            place = asked[which]
            best[layer] = max(best[layer], answer.score)
            if answer.present:
                weights = self._rows.weights[tile_row], self._columns.weights[place.tile_column]
                blender.add(layer, answer.values, (place.row, place.column), weights)
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
    if max(across, down) > _FINEST:
        raise UserError(
            f"--gsd {wanted:g} is more than {_FINEST:.0f} times finer than the scene ({max(own):.3g} m per pixel)"
        )
    return across, down
