"""From finished bands to what the user gets: rasters and polygons, whole or not at all."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import affine
import numpy as np
from numpy.typing import NDArray

from refersat import __version__
from refersat.scene.cog import Frame, Layer, write_cog
from refersat.scene.features import Describe, Feature
from refersat.scene.objects import SceneObject, Strip, label_strip, trace_objects
from refersat.scene.options import SceneOptions
from refersat.scene.parts import Parts
from refersat.scene.vectors import Target, feature_file
from refersat.vector import Ground

_STRIP_ROWS = 256


@dataclass(frozen=True)
class Paths:
    """Where things go: `<stem>-<k>.tif` and the like in a folder."""

    folder: Path
    stem: str
    options: SceneOptions

    @property
    def parts(self) -> Path:
        """The finished bands, until all is done."""
        return self.folder / f".{self.stem}.parts"

    @property
    def vectors(self) -> Path:
        """The polygons of all phrases."""
        return self.folder / f"{self.stem}.{self.options.format}"

    def partial(self, number: int) -> Path:
        """The mask of a phrase while it grows."""
        return self.folder / f"{self.stem}-{number}.partial.vrt"

    def mask(self, number: int) -> Path:
        """The mask of a phrase."""
        return self.folder / f"{self.stem}-{number}.tif"

    def probability(self, number: int) -> Path | None:
        """Its probability, if wanted."""
        return self.folder / f"{self.stem}-{number}.probability.tif" if self.options.probability else None

    def instances(self, number: int) -> Path | None:
        """Its objects' numbers, if wanted."""
        return self.folder / f"{self.stem}-{number}.instances.tif" if self.options.instances else None

    def all(self, phrases: int) -> list[Path]:
        """What a run writes."""
        rasters = [(self.mask(k), self.probability(k), self.instances(k)) for k in range(1, phrases + 1)]
        return [path for group in rasters for path in group if path is not None] + [self.vectors]


@dataclass(frozen=True)
class Found:
    """What was found for one phrase.

    Attributes:
        phrase: what was asked.
        objects: how many.
        area_m2: of all of them together; None where the scene has no place on the ground.
        pixels: of all of them together.
        score: the best that the model said of the target's presence anywhere, 0 to 1.
        mask: the raster, 0 and 255.
        probability, instances: more rasters, where asked for.
        vectors: the file of polygons, which all phrases of a run share.
    """

    phrase: str
    objects: int
    area_m2: float | None
    pixels: int
    score: float
    mask: Path
    probability: Path | None
    instances: Path | None
    vectors: Path

    def _repr_html_(self) -> str:
        """Picture and numbers, for notebooks."""
        from refersat.notebook import found_html

        return found_html(self)


@dataclass(frozen=True)
class Run:
    """What all outputs of a run are told.

    Attributes:
        frame: the scene's.
        ground: the scene's.
        holes: whether some pixels of the scene do not count.
        source: the scene's address.
        model: name of the model.
        tags: of the run.
    """

    frame: Frame
    ground: Ground
    holes: bool
    source: str
    model: str
    tags: Mapping[str, str]

    def tags_of(self, phrase: str, score: float | None = None) -> dict[str, str]:
        """The tags of what belongs to one phrase."""
        scored = {} if score is None else {"SCORE": f"{score:.4f}"}
        return {"PHRASE": phrase, **scored, **self.tags}


def write_outputs(paths: Paths, parts: Parts, phrases: Sequence[str], run: Run) -> Iterator[Found]:
    """Write everything, one phrase after another; the polygons are there after the last.

    Raises:
        UserError: the disk is full, or does not allow it.
    """
    scores = parts.scores()
    target = Target(
        layer=paths.stem,
        crs_wkt=run.frame.crs_wkt,
        transform=run.frame.transform or affine.identity,
        ground=run.ground,
        tags={**{f"PHRASE_{k}": phrase for k, phrase in enumerate(phrases, start=1)}, **run.tags},
        within=parts.folder,
    )
    with feature_file(paths.vectors, paths.options.format, target) as add:
        for number, (phrase, score) in enumerate(zip(phrases, scores, strict=True), start=1):
            sum_up = _Sum()
            objects = trace_objects(_strips(parts, number), column=int(parts.extent.x))
            describe = Describe(run.ground, phrase, run.model, run.source, __version__, paths.options.min_area)
            add(sum_up.passing(describe.features(objects)))
            _write_rasters(paths, parts, number, run, run.tags_of(phrase, score), sum_up.numbers)
            yield Found(
                phrase=phrase,
                objects=sum_up.objects,
                area_m2=sum_up.area if run.ground.area_unit == "m2" else None,
                pixels=sum_up.pixels,
                score=score,
                mask=paths.mask(number),
                probability=paths.probability(number),
                instances=paths.instances(number),
                vectors=paths.vectors,
            )


class _Sum:
    """Counts features as they pass, and notes which regions of which strip belong to which."""

    def __init__(self) -> None:
        self.objects = 0
        self.pixels = 0
        self.area = 0.0
        self.numbers = array("I", [0])  # a region's label -> its object's number, 0 for those left out

    def passing(self, features: Iterator[tuple[Feature, SceneObject]]) -> Iterator[Feature]:
        for feature, one in features:
            self.objects += 1
            self.pixels += one.pixels
            self.area += feature.area_m2 or 0.0
            missing = one.labels[-1] + 1 - len(self.numbers)
            if missing > 0:
                self.numbers.frombytes(bytes(missing * self.numbers.itemsize))
            for label in one.labels:
                self.numbers[label] = feature.instance
            yield feature


def _strips(parts: Parts, number: int) -> Iterator[Strip]:
    for row, (mask, probability) in parts.read(
        (Parts.mask_band(number), Parts.probability_band(number)), rows=_STRIP_ROWS
    ):
        yield Strip(row, mask > 0, probability)


def _write_rasters(
    paths: Paths, parts: Parts, number: int, run: Run, tags: Mapping[str, str], numbers: array[int]
) -> None:
    mask = Layer(Parts.mask_band(number))
    instances = paths.instances(number)
    if instances is not None or paths.options.min_area:
        kinds = f"kept{number}", f"instances{number}"
        _write_numbered(parts, number, np.frombuffer(numbers, np.uint32), kinds)
        mask = Layer(1, kind=kinds[0])
        if instances is not None:
            write_cog(instances, parts, Layer(1, kind=kinds[1], wide=True), run.frame, tags, holes=run.holes)
    probability = paths.probability(number)
    if probability is not None:
        layer = Layer(Parts.probability_band(number), overviews="average")
        write_cog(probability, parts, layer, run.frame, {**tags, "SCALE": "probability x 255"}, holes=run.holes)
    write_cog(paths.mask(number), parts, mask, run.frame, tags, holes=run.holes)


def _write_numbered(parts: Parts, number: int, numbers: NDArray[np.uint32], kinds: tuple[str, str]) -> None:
    """Pieces with the objects' numbers, and with the mask of those that are kept."""
    before = 0
    for strip in _strips(parts, number):
        labels, count = label_strip(strip.mask)
        here = np.zeros(count + 1, np.uint32)
        known = numbers[before + 1 : before + count + 1]
        here[1 : len(known) + 1] = known
        kept = here[labels]
        parts.write_piece(kinds[0], strip.row, [(kept > 0) * np.uint8(255)])
        parts.write_piece(kinds[1], strip.row, [kept])
        before += count
