"""What a user may ask of a scene."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from refersat.errors import UserError
from refersat.question import check_threshold

DEFAULT_TILE = 800
"""Pixels; the images of the data sets that models of this kind learn from have 500 to 1000."""

STRATEGIES = ("auto", "whole", "tile", "coarse-to-fine")
FORMATS = ("gpkg", "geojson", "fgb", "parquet")


@dataclass(frozen=True)
class SceneOptions:
    """How to look, and what to write.

    Attributes:
        strategy: one of `STRATEGIES`.
        tile: side of a tile in pixels, at the resolution that the model works in.
        overlap: share of a tile that its neighbour sees, too; 0 to 0.9.
        gsd: metres per pixel at which the model works; the scene's own when None.
        threshold: probability above which a pixel is foreground; the model's own when None.
        batch_size: questions that the model answers at once; its own when None.
        min_area: objects below so many square metres are left out of mask and polygons.
        instances: also write a raster of the objects' numbers.
        probability: also write a raster of probabilities.
        format: of the polygons, one of `FORMATS`.

    Raises:
        UserError: a value makes no sense.
    """

    strategy: str = "auto"
    tile: int = DEFAULT_TILE
    overlap: float = 0.25
    gsd: float | None = None
    threshold: float | None = None
    batch_size: int | None = None
    min_area: float = 0.0
    instances: bool = False
    probability: bool = False
    format: str = "gpkg"

    def __post_init__(self) -> None:
        for name, value, known in (("strategy", self.strategy, STRATEGIES), ("format", self.format, FORMATS)):
            if value not in known:
                raise UserError(f"--{name} is one of {', '.join(known)}, not {value!r}")
        if not 16 <= self.tile <= 8192:
            raise UserError(f"--tile is 16 to 8192 pixels, not {self.tile}")
        if not 0.0 <= self.overlap <= 0.9:
            raise UserError(f"--overlap is a share of a tile from 0 to 0.9, not {self.overlap}")
        if self.gsd is not None and not (math.isfinite(self.gsd) and self.gsd > 0):
            raise UserError(f"--gsd is metres per pixel, above 0, not {self.gsd}")
        if not (math.isfinite(self.min_area) and self.min_area >= 0):
            raise UserError(f"--min-area is square metres, 0 or more, not {self.min_area}")
        if self.batch_size is not None and self.batch_size < 1:
            raise UserError(f"--batch-size is at least 1, not {self.batch_size}")
        check_threshold(self.threshold)

    def deciding(self) -> Mapping[str, Any]:
        """What pixels depend on: all but what is done with them afterwards."""
        afterwards = {"min_area", "instances", "probability", "format"}
        return {name: value for name, value in asdict(self).items() if name not in afterwards}
