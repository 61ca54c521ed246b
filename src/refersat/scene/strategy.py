"""How a scene is looked at: what every strategy gives, and who gets to choose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from refersat.scene.window import Window

if TYPE_CHECKING:
    from refersat.scene.choice import Choice
    from refersat.scene.options import SceneOptions
    from refersat.scene.reader import Patch
    from refersat.segmenter import Segmenter


@dataclass(frozen=True, eq=False)
class Band:
    """The answers for some rows of the scene's extent.

    Attributes:
        row: the first one, counted from the extent's top.
        probability: uint16 (P, h, W), for each phrase 0 to `refersat.scene.blend.FULL`; W is the extent's width.
        scores: for each phrase the best that the model said of its presence since the last band, 0 to 1.
    """

    row: int
    probability: NDArray[np.uint16]
    scores: tuple[float, ...]

    @property
    def stop(self) -> int:
        """Just below its last row."""
        return self.row + int(self.probability.shape[1])


class Strategy(Protocol):
    """A way to look at a scene."""

    @property
    def steps(self) -> int:
        """How often `Look.advance` is called in all."""

    @property
    def scale(self) -> float:
        """Pixels that the model sees for one of the scene's, along a row, where it looks closest."""

    def bands(self, first_row: int, advance: Advance) -> Iterator[Band]:
        """The answers from a row of the extent on: bands from top to bottom, without a gap, to the last row.

        The same rows come with the same bits, wherever one begins. `advance` is called after each step.
        """


Advance = Callable[[float], None]
"""Called after each step with the number of the scene's pixels that it has settled."""


class Reads(Protocol):
    """What strategies need of a `refersat.scene.reader.SceneReader`."""

    @property
    def name(self) -> str:
        """The scene's, for messages."""

    @property
    def gsd(self) -> tuple[float, float] | None:
        """Metres per pixel along a row and down a column, where that is known."""

    @property
    def extent(self) -> Window:
        """Where to look."""

    def read(self, window: Window, size: tuple[int, int] | None = None) -> Patch:
        """What a window shows, in (h, w) pixels."""


@dataclass(frozen=True)
class Look:
    """What a strategy works with.

    Attributes:
        reader: the open scene; strategies look at its `extent`.
        segmenter: the model.
        phrases: what to find.
        options: the user's.
        folder: of the run; what a strategy has found and needs again when the run goes on is kept there. None keeps
            nothing.
    """

    reader: Reads
    segmenter: Segmenter
    phrases: Sequence[str]
    options: SceneOptions
    folder: Path | None = None

    @property
    def extent(self) -> Window:
        """Where to look."""
        return self.reader.extent


def make_strategy(look: Look) -> tuple[Choice, Strategy]:
    """The strategy that the options ask for, and how it was chosen; `auto` becomes one of the others."""
    from refersat.scene.choice import choose
    from refersat.scene.coarse_to_fine import CoarseToFine
    from refersat.scene.tiles import Tiles, scales

    wanted = look.options.strategy
    choice = choose(wanted, look.phrases, look.extent, look.options.tile / min(scales(look)))
    if choice.name == "coarse-to-fine":
        return choice, CoarseToFine(look, local="tile" if wanted == "auto" else "overview")
    return choice, Tiles.whole(look) if choice.name == "whole" else Tiles.tiled(look)
