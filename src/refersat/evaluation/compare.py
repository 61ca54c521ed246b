"""Two finished evaluations of the same samples side by side: which is better, is it more than chance, what flipped.

Both read the same images, so their answers are compared in pairs. For the p-value of a difference the two answers to an
image's samples change sides at random, all samples of the image together: were the models equally good, any such swap
would be as likely as what was seen (a permutation test with two sides). The interval of the difference is that of
`refersat.evaluation.confidence`: images drawn with replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from refersat.errors import UserError
from refersat.evaluation.confidence import ImageBootstrap, Interval, interval, overlap_measures, overlap_table
from refersat.evaluation.finished import FinishedRun, SampleLine, read_run
from refersat.evaluation.metrics import iou

if TYPE_CHECKING:
    from numpy.typing import NDArray

PERMUTATIONS = 10_000
SEED = 0
FLIP_AT = 0.5
"""A sample flips when its IoU crosses this from one evaluation to the other."""

_AT_ONCE = 500  # permutations in memory together


@dataclass(frozen=True)
class Measure:
    """One number of both evaluations, in percent.

    Attributes:
        name: as in `metrics.json`.
        a, b: the two numbers.
        difference: b - a.
        interval: of the difference; None where fewer than two images say something about it.
        p_value: that chance alone makes so large a difference; None likewise.
    """

    name: str
    a: float
    b: float
    difference: float
    interval: Interval | None
    p_value: float | None


@dataclass(frozen=True)
class Group:
    """mIoU of the samples of one type of phrase."""

    name: str
    count: int
    measure: Measure


@dataclass(frozen=True)
class Flip:
    """A sample that one evaluation finds and the other misses; IoU in 0..1."""

    id: str
    phrase: str
    type: str
    iou_a: float
    iou_b: float

    @property
    def gain(self) -> float:
        """IoU of b above that of a."""
        return self.iou_b - self.iou_a


@dataclass(frozen=True)
class Comparison:
    """Evaluation `b` against evaluation `a`, on the samples that both have.

    Attributes:
        a, b: what the two are called.
        protocol: whose overlaps are compared.
        count: samples with a target that both have.
        images: that these samples are about.
        only_a, only_b: samples that just one of them has; they are left out.
        measures: mIoU, oIoU, Pr@t, and measures of absence where there are absent phrases.
        by_type: mIoU for each type of phrase.
        flips: won ones first, the largest gain first, then lost ones, the largest loss first.
    """

    a: str
    b: str
    protocol: str
    count: int
    images: int
    only_a: int
    only_b: int
    measures: tuple[Measure, ...]
    by_type: tuple[Group, ...]
    flips: tuple[Flip, ...]

    @property
    def won(self) -> tuple[Flip, ...]:
        """The samples that b finds and a misses."""
        return tuple(flip for flip in self.flips if flip.gain > 0)

    @property
    def lost(self) -> tuple[Flip, ...]:
        """The samples that a finds and b misses."""
        return tuple(flip for flip in self.flips if flip.gain < 0)


def compare_runs(a: Path, b: Path) -> Comparison:
    """Compare the evaluations in two folders.

    Raises:
        UserError: a folder holds no finished evaluation, or they have no samples or no protocol in common.
    """
    first, second = read_run(a), read_run(b)
    protocol = next((name for name in first.protocols if name in second.protocols), None)
    if protocol is None:
        raise UserError(
            f"{a} counts under {', '.join(first.protocols)}, {b} under {', '.join(second.protocols)}: evaluate "
            "both with one --protocol"
        )
    pairs = _pairs(first, second)
    found = [(x, y) for x, y in pairs if x.overlaps]
    absent = [(x, y) for x, y in pairs if not x.overlaps]
    overlaps = [overlap_table([pair[side].overlaps[protocol] for pair in found]) for side in (0, 1)]
    absences = [np.array([[1, y.empty, y.painted] for y in (pair[side] for pair in absent)]) for side in (0, 1)]
    images = [x.image for x, _ in found]
    types: dict[str, list[int]] = {}
    for place, (x, _) in enumerate(found):
        types.setdefault(x.type, []).append(place)
    names = _names(first, second)
    return Comparison(
        a=names[0],
        b=names[1],
        protocol=protocol,
        count=len(found),
        images=len(set(images)),
        only_a=len(first.lines) - len(pairs),
        only_b=len(second.lines) - len(pairs),
        measures=(
            *_paired(overlaps, images, overlap_measures),
            *_paired(absences, [x.image for x, _ in absent], _absence_measures),
        ),
        by_type=tuple(
            Group(name, len(k), _paired([side[k] for side in overlaps], [images[i] for i in k], overlap_measures)[0])
            for name, k in sorted(types.items())
        ),
        flips=_flips(found, protocol),
    )


def _names(a: FinishedRun, b: FinishedRun) -> tuple[str, str]:
    """The models' names, or the folders' where those are the same."""
    if a.model != b.model:
        return a.model, b.model
    if a.folder.name != b.folder.name:
        return a.folder.name, b.folder.name
    return str(a.folder), str(b.folder)


def _pairs(a: FinishedRun, b: FinishedRun) -> list[tuple[SampleLine, SampleLine]]:
    theirs = b.by_key()
    pairs = [(line, theirs[key]) for key, line in a.by_key().items() if key in theirs]
    if not pairs:
        raise UserError(f"{a.folder} and {b.folder} have no samples in common: evaluate both on the same data")
    for x, y in pairs:
        if x.phrase != y.phrase or bool(x.overlaps) != bool(y.overlaps):
            raise UserError(
                f"{a.folder} and {b.folder} are about different data: sample {x.id} is not the same in both"
            )
    return pairs


def _paired(
    sides: Sequence[NDArray[np.float64]],
    images: Sequence[str],
    measures: Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]],
) -> list[Measure]:
    """Compare measures that are made of sums over samples.

    Args:
        sides: what is summed of the same n samples, (n, m) for both evaluations.
        images: of each sample.
        measures: from sums (..., m) to each measure (...).
    """
    a, b = sides
    if not len(images):
        return []
    seen = measures(a.sum(axis=0)), measures(b.sum(axis=0))
    bootstrap = ImageBootstrap(images)
    drawn = bootstrap.sums({(): (np.arange(len(images)), np.concatenate([a, b], axis=1))})[()]
    found = []
    moved = None if drawn is None else _swapped(a, b, bootstrap, measures)
    for name in seen[0]:
        x, y = float(seen[0][name]), float(seen[1][name])
        spread = p_value = None
        if drawn is not None and moved is not None:
            m = a.shape[1]
            spread = interval(measures(drawn[:, m:])[name] - measures(drawn[:, :m])[name])
            # The tolerance lets what is equal but for rounding count as equal.
            p_value = (1 + int(np.sum(np.abs(moved[name]) >= abs(y - x) - 1e-9))) / (1 + PERMUTATIONS)
        found.append(Measure(name, x, y, y - x, spread, p_value))
    return found


def _swapped(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    bootstrap: ImageBootstrap,
    measures: Callable[[NDArray[np.float64]], dict[str, NDArray[np.float64]]],
) -> dict[str, NDArray[np.float64]]:
    """The difference of each measure after each of `PERMUTATIONS` random swaps of sides, image by image."""
    total = (a + b).sum(axis=0)
    change = np.zeros((bootstrap.count, a.shape[1]))
    np.add.at(change, bootstrap.image_of, b - a)
    rng = np.random.default_rng(SEED)
    parts: list[dict[str, NDArray[np.float64]]] = []
    for _ in range(0, PERMUTATIONS, _AT_ONCE):
        signs = rng.integers(0, 2, (_AT_ONCE, bootstrap.count)) * 2.0 - 1.0
        moved = signs @ change  # the sums of b less those of a
        after_a, after_b = measures((total - moved) / 2), measures((total + moved) / 2)
        parts.append({name: after_b[name] - after_a[name] for name in after_a})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _absence_measures(sums: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Sums (..., 3) of 1, answered empty, share painted -> the measures of absence in percent."""
    count, empty, painted = np.moveaxis(sums, -1, 0)
    with np.errstate(invalid="ignore"):
        return {"absent_accuracy": 100 * empty / count, "false_positive_area": 100 * painted / count}


def _flips(pairs: Sequence[tuple[SampleLine, SampleLine]], protocol: str) -> tuple[Flip, ...]:
    flips = []
    for x, y in pairs:
        before, after = iou(*x.overlaps[protocol]), iou(*y.overlaps[protocol])
        if (before >= FLIP_AT) != (after >= FLIP_AT):
            flips.append(Flip(x.id, x.phrase, x.type, before, after))
    return tuple(sorted(flips, key=lambda flip: (flip.gain < 0, -abs(flip.gain), flip.id)))
