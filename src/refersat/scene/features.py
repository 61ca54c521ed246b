"""Objects as features: placed in the scene's CRS, measured on the ground, with what describes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import affine
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.polygon import orient

from refersat.scene.objects import SceneObject
from refersat.scene.outline import smooth_outline
from refersat.vector import Ground

FIELDS = ("phrase", "model", "score", "area_m2", "instance", "source", "version")


@dataclass(frozen=True, eq=False)
class Feature:
    """One object.

    Attributes:
        outline: in pixels of the scene; valid, with holes.
        phrase, model, source, version: what was asked, of whom, about which file, and by which version of refersat.
        score: mean probability of its pixels, 0 to 1.
        area_m2: geodesic area of its pixels; None where the scene has no place on the ground.
        instance: its number among the objects of its phrase, from 1.
    """

    outline: shapely.Polygon
    phrase: str
    model: str
    score: float
    area_m2: float | None
    instance: int
    source: str
    version: str


@dataclass(frozen=True)
class Describe:
    """Makes features of objects.

    Attributes:
        ground: of the scene.
        phrase, model, source, version: see `Feature`.
        min_area: objects with fewer square metres are left out.
    """

    ground: Ground
    phrase: str
    model: str
    source: str
    version: str
    min_area: float = 0.0

    def features(self, objects: Iterator[SceneObject]) -> Iterator[tuple[Feature, SceneObject]]:
        """The features of the objects that are large enough, numbered as they come."""
        number = 0
        for one in objects:
            area = self.ground.area(one.outline) if self.ground.area_unit == "m2" else None
            if area is not None and area < self.min_area:
                continue
            number += 1
            feature = Feature(
                outline=smooth_outline(one.outline),
                phrase=self.phrase,
                model=self.model,
                score=round(one.score, 4),
                area_m2=None if area is None else round(area, 3),
                instance=number,
                source=self.source,
                version=self.version,
            )
            yield feature, one


def in_crs(outline: shapely.Polygon, transform: affine.Affine) -> shapely.Polygon:
    """An outline in pixels as one in the scene's CRS, its exterior counter-clockwise there."""
    a, b, c, d, e, f = transform[:6]

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = points.T
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)

    return orient(shapely.transform(outline, place))
