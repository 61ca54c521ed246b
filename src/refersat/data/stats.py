"""What is in a data set: images, categories, phrases, and where in the image the targets are."""

from __future__ import annotations

import re
import warnings
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from refersat.data.samples import ALL_SPLITS, Sample, SampleSet
from refersat.data.scan import ImageGroup, group_by_image, scan
from refersat.data.target import target_of
from refersat.imagery import read_image

if TYPE_CHECKING:
    from pathlib import Path

GRID = 36
"""Cells of the map of covered parts along each side."""

CENTRE_GRID = 18
"""Cells of the map of centres along each side, fewer: each target counts in one only. Thirds are whole cells."""

MOST_SIZES = 8
"""More sizes of images than this are rounded to hundreds of pixels in tables and charts."""

AREA_BOUNDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
"""Shares of the image that bound the classes of area; a share equal to a bound belongs to the class above it."""

_WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


@dataclass(frozen=True)
class Target:
    """Where the target of one sample is: its share of the image, and its centre in shares of width and height."""

    share: float
    centre: tuple[float, float]


@dataclass(frozen=True)
class ImageFacts:
    """Width and height of an image, its targets, and how much of each cell (GRID, GRID) all of them together cover."""

    size: tuple[int, int]
    targets: tuple[Target, ...]
    covered: NDArray[np.float32]


@dataclass
class Stats:
    """Counts over the samples of one data set; shares and centres are of the targets that are not empty."""

    name: str
    split: str
    fingerprint: str
    samples: int = 0
    absent: int = 0
    boxes_only: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    lengths: Counter[int] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    phrases: set[str] = field(default_factory=set)
    phrases_per_image: Counter[int] = field(default_factory=Counter)
    image_sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    shares: list[float] = field(default_factory=list)
    covered: NDArray[np.float64] = field(default_factory=lambda: np.zeros((GRID, GRID)))
    centres: NDArray[np.int64] = field(default_factory=lambda: np.zeros((CENTRE_GRID, CENTRE_GRID), np.int64))

    @property
    def images(self) -> int:
        """How many image files."""
        return self.image_sizes.total()

    @cached_property
    def coverage(self) -> NDArray[np.float64]:
        """How often a cell of the image (GRID, GRID) belongs to the target, 0..1."""
        return self.covered / max(1, len(self.shares))

    def sizes(self) -> dict[str, int]:
        """Images by width and height, the most frequent first; about so large where there are many different ones."""
        about = len(self.image_sizes) > MOST_SIZES
        counts: Counter[str] = Counter()
        for size, count in self.image_sizes.items():
            width, height = (round(side, -2) or 100 if about else side for side in size)
            counts[f"about {width} x {height}" if about else f"{width} x {height}"] += count
        return dict(counts.most_common())

    def areas(self) -> dict[str, int]:
        """Targets by their share of the image: the classes from the first to the last that has any."""
        counts = Counter(bisect_right(AREA_BOUNDS, share) for share in self.shares)
        names = area_names()
        return {names[k]: counts[k] for k in range(min(counts), max(counts) + 1)} if counts else {}

    def thirds(self) -> NDArray[np.float64]:
        """Share of the targets whose centre lies in each third of the height and of the width, (3, 3)."""
        side = CENTRE_GRID // 3
        counts = self.centres.reshape(3, side, 3, side).sum(axis=(1, 3))
        found: NDArray[np.float64] = counts / max(1, int(counts.sum()))
        return found

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; counts in falling order."""
        return {
            "name": self.name,
            "split": self.split,
            "fingerprint": self.fingerprint,
            "samples": self.samples,
            "images": self.images,
            "names_nothing": self.absent,
            "boxes_only": self.boxes_only,
            "different_phrases": len(self.phrases),
            "different_words": len(self.words),
            "words_per_phrase": {str(count): self.lengths[count] for count in sorted(self.lengths)},
            "phrases_per_image": {
                str(count): self.phrases_per_image[count] for count in sorted(self.phrases_per_image)
            },
            "splits": dict(self.splits.most_common()),
            "categories": dict(self.categories.most_common()),
            "phrase_types": dict(self.types.most_common()),
            "image_sizes": {f"{width}x{height}": n for (width, height), n in self.image_sizes.most_common()},
            "target_share_median": median(self.shares) if self.shares else None,
            "target_share_of_image": self.areas(),
            "centres_in_thirds": self.thirds().tolist(),
            "target_coverage": self.coverage.tolist(),
        }


def area_names() -> list[str]:
    """Names of the classes that `AREA_BOUNDS` makes, in percent of the image."""
    texts = [f"{100 * bound:g}" for bound in AREA_BOUNDS]
    return [f"<{texts[0]}", *(f"{low}-{high}" for low, high in pairwise(texts)), f">{texts[-1]}"]


def collect_stats(
    data_set: SampleSet, *, workers: int | None = None, on_image: Callable[[], None] = lambda: None
) -> Stats:
    """Count everything; masks are read one by one, images are only asked for their size.

    Raises:
        UserError: a file cannot be read, or a mask is not as large as its image.
    """
    stats = Stats(data_set.name, data_set.split, data_set.fingerprint)
    _count_phrases(stats, data_set.samples)
    groups = group_by_image(data_set.samples)
    for group, facts in zip(groups, scan(image_facts, groups, workers=workers), strict=True):
        stats.image_sizes[facts.size] += 1
        stats.phrases_per_image[len(group.samples)] += 1
        stats.covered += facts.covered
        for target in facts.targets:
            stats.shares.append(target.share)
            column, row = (min(int(value * CENTRE_GRID), CENTRE_GRID - 1) for value in target.centre)
            stats.centres[row, column] += 1
        on_image()
    return stats


def _count_phrases(stats: Stats, samples: Iterable[Sample]) -> None:
    for sample in samples:
        words = _WORD.findall(sample.phrase.lower())
        stats.samples += 1
        stats.absent += sample.absent
        stats.boxes_only += sample.load_mask is None and bool(sample.boxes)
        stats.splits[sample.split or ALL_SPLITS] += 1
        if sample.category:
            stats.categories[sample.category] += 1
        stats.types[sample.type or _type_of(sample.phrase)] += 1
        stats.lengths[len(words)] += 1
        stats.words.update(words)
        stats.phrases.add(" ".join(words))


def _type_of(phrase: str) -> str:
    from refersat.text.phrase_type import classify

    return classify(phrase)


def image_facts(group: ImageGroup) -> ImageFacts:
    """Measure an image and the targets in it."""
    width, height = _size_of(group.image)
    targets: list[Target] = []
    covered = np.zeros((GRID, GRID), np.float32)
    for sample in group.samples:
        mask = target_of(sample, (height, width))
        if mask is None or not mask.any():
            continue
        area = int(np.count_nonzero(mask))
        x, y = (float(mask.sum(axis=k) @ np.arange(mask.shape[1 - k])) / area for k in (0, 1))
        targets.append(Target(area / mask.size, ((x + 0.5) / width, (y + 0.5) / height)))
        covered += np.asarray(cv2.resize(mask.astype(np.float32), (GRID, GRID), interpolation=cv2.INTER_AREA))
    return ImageFacts((width, height), tuple(targets), covered)


def _size_of(path: Path) -> tuple[int, int]:
    """Width and height as `read_image` would give them, without reading the pixels where the format allows it."""
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                return source.width, source.height
    except RasterioError:
        image = read_image(path)
        return image.width, image.height
