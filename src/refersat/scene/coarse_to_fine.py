"""The strategy `coarse-to-fine`: first what in the whole scene is meant, then that at native resolution.

A phrase with words about the scene ("the largest ship on the left") is taken apart: its kind of object ("all ships") is
searched for in tiles, what is found becomes objects of the scene, and the words about the scene are decided by their
geometry. The objects that are meant are then seen once more, each in a window of its own.

Where no rule understands a phrase, and for phrases without such words, the model itself says where to look: it answers
on an overview of the whole scene, and what it marks there, or the box that its grounder finds, is segmented at native
resolution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from refersat.scene.blend import FULL
from refersat.scene.candidates import find_candidates, kind_phrases, meant, only
from refersat.scene.focus import CloseUp, fits, focus
from refersat.scene.objects import SceneObject
from refersat.scene.overview import Gate, look_from_afar
from refersat.scene.spool import Spool
from refersat.scene.strategy import Advance, Band, Look
from refersat.scene.tiles import Tiles, scales
from refersat.scene.window import Window
from refersat.text.parse import Reading, parse
from refersat.text.scope import scene_words

_MOST_WINDOWS = 32
"""Candidates of a phrase that get windows of their own; of more, the search's answer is taken as it is."""


@dataclass(eq=False)
class _Layer:
    """What becomes of one phrase: the bands of a spooled layer, and windows that are laid over them."""

    spool: Spool | None = None
    number: int = 0
    kept: Sequence[SceneObject] | None = None
    """Of the spooled layer's objects those that stay; all when None."""
    windows: Sequence[CloseUp] = field(default=())
    score: float = 0.0


@dataclass(eq=False)
class _Search:
    """What was found everywhere: a layer of the spool for each phrase, and the objects in it."""

    spool: Spool
    phrases: Sequence[str]
    extent: Window
    level: int
    _found: dict[str, list[SceneObject]] = field(default_factory=dict)

    def candidates(self, phrase: str) -> list[SceneObject]:
        """The objects of a phrase, traced once."""
        if phrase not in self._found:
            layer = self.spool.layer(self.phrases.index(phrase))
            self._found[phrase] = find_candidates(layer, self.extent, self.level)
        return self._found[phrase]


class CoarseToFine:
    """See the module.

    Args:
        look: what to work with.
        local: what is done with phrases without words about the scene: "overview" lets the model say on an overview
            where to look, "tile" looks everywhere.
    """

    def __init__(self, look: Look, *, local: str = "overview") -> None:
        self._look = look
        self._readings = {phrase: parse(phrase) for phrase in look.phrases if scene_words(phrase)}
        self._tiled = [phrase for phrase in look.phrases if local == "tile" and phrase not in self._readings]
        kinds = [kind for reading in self._readings.values() if reading for kind in kind_phrases(reading)]
        self._searched = list(dict.fromkeys([*kinds, *self._tiled]))
        self._threshold = look.options.threshold if look.options.threshold is not None else look.segmenter.threshold
        self._side = look.options.tile / min(scales(look))

    @property
    def steps(self) -> int:
        """Tiles of the search, and one for each phrase."""
        tiles = Tiles.tiled(self._look).steps if self._searched else 0
        return tiles + len(self._look.phrases)

    @property
    def scale(self) -> float:
        """See `Strategy.scale`."""
        return scales(self._look)[0]

    def bands(self, first_row: int, advance: Advance) -> Iterator[Band]:
        """See `Strategy.bands`. The search serves again, as far as it got, where a look has a folder to keep it in."""
        with ExitStack() as spools:

            def new_spool(name: str) -> Spool:
                return spools.enter_context(Spool(self._look.extent, self._look.folder, name))

            search = _Search(new_spool("search"), self._searched, self._look.extent, self._level)
            if self._searched:
                tiles = Tiles.tiled(replace(self._look, phrases=self._searched))
                search.spool.fill(lambda row: tiles.bands(row, advance))
            layers = []
            settled = self._look.extent.width * self._look.extent.height / len(self._look.phrases)
            for number, phrase in enumerate(self._look.phrases):
                layers.append(self._layer(phrase, search, partial(new_spool, f"near{number}")))
                advance(0.0 if self._searched else settled)
            yield from _joined(layers, self._look, first_row, self._level)

    @property
    def _level(self) -> int:
        """The threshold among probabilities from 0 to `FULL`."""
        return int(self._threshold * FULL)

    def _layer(self, phrase: str, search: _Search, new_spool: Callable[[], Spool]) -> _Layer:
        if phrase in self._tiled:
            number = search.phrases.index(phrase)
            return _Layer(search.spool, number, score=_score(search.spool, number))
        reading = self._readings.get(phrase)
        found = self._singled_out(reading, search) if reading else None
        return found or self._from_overview(phrase, new_spool)

    def _singled_out(self, reading: Reading, search: _Search) -> _Layer | None:
        """What a phrase means among the objects of its kind; None where something else that it names is missing."""
        candidates = {kind: search.candidates(kind) for kind in kind_phrases(reading)}
        chosen = meant(reading, candidates, self._look.extent)
        if chosen is None:
            return None
        small = [one for one in chosen if fits(one.outline, self._side)]
        windows: list[CloseUp | None] = []
        if 0 < len(small) <= _MOST_WINDOWS:
            outlines = [one.outline for one in small]
            windows = focus(self._look, reading.kind_phrase, outlines, side=self._side, threshold=self._threshold)
        replaced = {id(one) for one, window in zip(small, windows, strict=False) if window}
        number = search.phrases.index(reading.kind_phrase)
        return _Layer(
            search.spool,
            number,
            [one for one in chosen if id(one) not in replaced],
            [window for window in windows if window],
            _score(search.spool, number),
        )

    def _from_overview(self, phrase: str, new_spool: Callable[[], Spool]) -> _Layer:
        """What the model marks on an overview, segmented at native resolution."""
        afar = look_from_afar(self._look, phrase, self._threshold)
        if not afar.outlines:
            return _Layer(score=afar.score)
        if len(afar.outlines) <= _MOST_WINDOWS and all(fits(one, self._side) for one in afar.outlines):
            windows = focus(
                self._look, phrase, afar.outlines, side=self._side, threshold=self._threshold, boxes=afar.boxes
            )
            both = zip(windows, afar.outlines, strict=True)
            return _Layer(windows=[window or afar.seen(outline) for window, outline in both], score=afar.score)
        spool = new_spool()
        gated = replace(self._look, phrases=[phrase], reader=Gate(self._look.reader, afar.outlines, afar.pixel))
        tiles = Tiles.tiled(gated)
        spool.fill(lambda row: tiles.bands(row, lambda _: None))
        return _Layer(spool, score=max(afar.score, _score(spool, 0)))


def _score(spool: Spool, number: int) -> float:
    return float(spool.best[number])


def _joined(layers: Sequence[_Layer], look: Look, first_row: int, level: int) -> Iterator[Band]:
    """The layers as bands, from a row on."""
    rows = next((layer.spool.rows for layer in layers if layer.spool), _plain_rows(round(look.extent.height)))
    width = round(look.extent.width)
    sources = [_source(layer, level) for layer in layers]
    for first, stop in rows:
        values = np.zeros((len(layers), stop - first, width), np.uint16)
        for number, (layer, source) in enumerate(zip(layers, sources, strict=True)):
            if source is not None:
                values[number] = next(source)
            for found in layer.windows:
                _lay(found, values[number], look.extent.y + first, look.extent.x)
        if stop > first_row:
            skipped = max(0, first_row - first)
            yield Band(first + skipped, values[:, skipped:], tuple(layer.score for layer in layers))


def _source(layer: _Layer, level: int) -> Iterator[NDArray[np.uint16]] | None:
    if layer.spool is None:
        return None
    bands = layer.spool.layer(layer.number)
    return bands if layer.kept is None else only(bands, layer.kept, level)


def _lay(found: CloseUp, values: NDArray[np.uint16], top: float, left: float) -> None:
    """Lay a window over rows of the extent that begin at `top` and `left`; the higher probability counts."""
    row, column = round(found.window.y - top), round(found.window.x - left)
    first, stop = max(row, 0), min(row + len(found.probability), len(values))
    if first < stop:
        part = values[first:stop, column : column + found.probability.shape[1]]
        np.maximum(part, found.probability[first - row : stop - row], out=part)


def _plain_rows(height: int, at_once: int = 512) -> list[tuple[int, int]]:
    return [(row, min(row + at_once, height)) for row in range(0, height, at_once)]
