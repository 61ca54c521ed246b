"""Confidence intervals: how far the numbers would move with other images of the same kind.

Phrases about one image rise and fall together, so whole images are drawn, not phrases: a bootstrap by clusters. Each of
`REPLICATES` data sets is drawn from the images, with replacement and as many as there are; every number is computed on
each, and the interval spans the middle `LEVEL` percent of them. The draws depend on the number of images and a fixed
seed alone, so the same rows always give the same interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from refersat.evaluation.metrics import PRECISION_THRESHOLDS, iou

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from refersat.evaluation.rows import SampleRow

LEVEL = 95
REPLICATES = 1000
SEED = 0
MIN_IMAGES = 2
"""A single image says nothing about others."""

Interval = tuple[float, float]
Intervals = dict[str, Interval | None]

_AT_ONCE = 50  # replicates whose weights are in memory together


class ImageBootstrap:
    """Draws of images with replacement.

    Args:
        images: of which image each sample is, in any order.
    """

    def __init__(self, images: Sequence[Hashable]) -> None:
        # Sorted, so that the draws do not depend on the order of the samples.
        names = sorted(set(images), key=repr)
        place = {name: k for k, name in enumerate(names)}
        self.count = len(names)
        self.image_of = np.array([place[name] for name in images], dtype=np.intp)

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """How often each image is drawn: arrays (some replicates, images), `REPLICATES` rows in all."""
        rng = np.random.default_rng(SEED)
        for start in range(0, REPLICATES, _AT_ONCE):
            draws = rng.integers(0, self.count, (min(_AT_ONCE, REPLICATES - start), self.count))
            counts = [np.bincount(draw, minlength=self.count) for draw in draws]
            yield np.array(counts, dtype=np.float64)

    def sums(
        self, tables: Mapping[tuple[str, ...], tuple[NDArray[np.intp], NDArray[np.float64]]]
    ) -> dict[tuple[str, ...], NDArray[np.float64] | None]:
        """Sums over the drawn samples, for several tables of numbers in the same draws.

        Args:
            tables: by key, which samples (n,) a table is about and their numbers (n, m).

        Returns:
            (REPLICATES, m) by key, None for a table of fewer than `MIN_IMAGES` images.
        """
        by_image = {}
        for key, (samples, numbers) in tables.items():
            images, place = np.unique(self.image_of[samples], return_inverse=True)
            totals = np.zeros((len(images), numbers.shape[1]))
            np.add.at(totals, place, numbers)
            by_image[key] = images, totals
        parts: dict[tuple[str, ...], list[NDArray[np.float64]]] = {
            key: [] for key, (images, _) in by_image.items() if len(images) >= MIN_IMAGES
        }
        for weights in self.weights() if parts else ():
            for key, found in parts.items():
                images, totals = by_image[key]
                found.append(weights[:, images] @ totals)
        return {key: np.concatenate(parts[key]) if key in parts else None for key in tables}


def interval(values: NDArray[np.float64]) -> Interval | None:
    """The middle `LEVEL` percent of values; replicates in which the number does not exist (NaN) are left out."""
    known = values[~np.isnan(values)]
    if not known.size:
        return None
    low, high = np.percentile(known, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def confidence_intervals(rows: Sequence[SampleRow], protocols: Sequence[str]) -> dict[tuple[str, ...], Intervals]:
    """Intervals in percent by the place of their numbers in `metrics.json`.

    For example ("native",), ("native", "by_type", "position") and ("presence",). A number has no interval (None) where
    fewer than two images say something about it.
    """
    if not rows:
        return {}
    bootstrap = image_bootstrap(rows)
    targets = np.array([k for k, row in enumerate(rows) if not row.absent], dtype=np.intp)
    found: dict[tuple[str, ...], Intervals] = {("presence",): _presence(rows, bootstrap)}
    members = _members(rows, targets)
    for protocol in protocols:
        numbers = overlap_table([rows[k].overlaps[protocol] for k in targets])
        tables = {(protocol, *key): (targets[chosen], numbers[chosen]) for key, chosen in members.items()}
        found |= {key: overlap_intervals(sums) for key, sums in bootstrap.sums(tables).items()}
    return found


def image_bootstrap(rows: Sequence[SampleRow]) -> ImageBootstrap:
    """The bootstrap over the images of these rows; images of two data sets differ, whatever their names."""
    return ImageBootstrap([(row.dataset or "", row.image) for row in rows])


def overlap_table(overlaps: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """What is summed of each sample, (n, 9): 1, IoU, intersection, union, and whether IoU reaches each threshold."""
    table = np.empty((len(overlaps), 4 + len(PRECISION_THRESHOLDS)))
    for k, (intersection, union) in enumerate(overlaps):
        value = iou(intersection, union)
        table[k] = (1, value, intersection, union, *(value >= threshold for threshold in PRECISION_THRESHOLDS))
    return table


def overlap_measures(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Sums (..., 9) of `overlap_table` -> each measure (...) in percent; NaN where no sample was drawn."""
    count, ious, intersection, union, *hits = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore"):
        named = {
            "mIoU": 100 * ious / count,
            "oIoU": np.where(count > 0, 100 * intersection / np.maximum(union, 1), np.nan),
        }
        return named | {f"Pr@{t}": 100 * hit / count for t, hit in zip(PRECISION_THRESHOLDS, hits, strict=True)}


def overlap_intervals(sums: NDArray[np.float64] | None) -> Intervals:
    """Sums of all replicates (REPLICATES, 9), or None, -> the intervals of mIoU, oIoU and Pr@t."""
    if sums is None:
        return dict.fromkeys(overlap_measures(np.zeros(9)))
    return {name: interval(values) for name, values in overlap_measures(sums).items()}


def _members(rows: Sequence[SampleRow], targets: NDArray[np.intp]) -> dict[tuple[str, ...], NDArray[np.intp]]:
    """Places in `targets` of all samples, and of those of each group."""
    members: dict[tuple[str, ...], list[int]] = {(): list(range(len(targets)))}
    for place, number in enumerate(targets):
        for key in rows[number].groups().items():
            members.setdefault(key, []).append(place)
    return {key: np.array(places, dtype=np.intp) for key, places in members.items()}


def _presence(rows: Sequence[SampleRow], bootstrap: ImageBootstrap) -> Intervals:
    absent = np.array([row.absent for row in rows], dtype=np.bool_)
    painted = np.array([row.predicted_area / row.pixels for row in rows])
    numbers = np.stack([np.ones(len(rows)), painted > 0, painted], axis=1)
    sums = bootstrap.sums(
        {(key,): (np.flatnonzero(mask), numbers[mask]) for key, mask in (("no", absent), ("yes", ~absent))}
    )
    found: Intervals = dict.fromkeys(("absent_accuracy", "presence_auroc", "false_positive_area", "present_recall"))
    with np.errstate(invalid="ignore"):
        if (no := sums["no",]) is not None:
            found["absent_accuracy"] = interval(100 - 100 * no[:, 1] / no[:, 0])
            found["false_positive_area"] = interval(100 * no[:, 2] / no[:, 0])
        if (yes := sums["yes",]) is not None:
            found["present_recall"] = interval(100 * yes[:, 1] / yes[:, 0])
        if no is not None and yes is not None:
            scores = np.array([row.score for row in rows])
            found["presence_auroc"] = interval(100 * _aurocs(scores, absent, bootstrap))
    return found


def _aurocs(scores: NDArray[np.float64], absent: NDArray[np.bool_], bootstrap: ImageBootstrap) -> NDArray[np.float64]:
    """AUROC in 0..1 of every replicate: each pair counts as often as its two samples were drawn."""
    values, place = np.unique(scores, return_inverse=True)
    found = []
    for weights in bootstrap.weights():
        for drawn in weights[:, bootstrap.image_of]:
            present, missing = (np.bincount(place[side], drawn[side], len(values)) for side in (~absent, absent))
            below = np.cumsum(missing) - missing / 2
            pairs = present.sum() * missing.sum()
            found.append((present @ below) / pairs if pairs else np.nan)
    return np.array(found)
