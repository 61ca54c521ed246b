"""What was published on the official test splits, to lay beside a run; in percent, collected and not measured here.

Papers do not measure alike: what is known of how each counts is said beside its numbers. LGCE, FIANet and RSRefSeg 2
chose their checkpoint on the test split, which flatters them; nothing in refersat is ever chosen on a test split.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from refersat.data.published import PUBLISHED


@dataclass(frozen=True)
class Method:
    """A published method.

    Attributes:
        name: as its authors write it.
        source: paper, year and place.
        grid: side of the square that its code compares on, in pixels; "" where we do not know.
        caveat: what makes its numbers less comparable; "" where nothing is known.
    """

    name: str
    source: str
    grid: str = ""
    caveat: str = ""


@dataclass(frozen=True)
class PublishedResult:
    """The numbers of one method on one test split; None where the paper gives none (or none were collected)."""

    method: Method
    miou: float
    oiou: float | None
    pr50: float | None = None
    pr90: float | None = None


@dataclass(frozen=True)
class Benchmark:
    """A data set whose official test split has that many `samples`, and what was published on it."""

    name: str
    samples: int
    results: tuple[PublishedResult, ...]


_ON_TEST = "checkpoint chosen on the test split"
_LATER = "made for everyday photos; these numbers are from later papers"
_UNIDENTIFIED = "2026, paper not identified"

_LAVT = Method("LAVT", "Yang et al., CVPR 2022", caveat=_LATER)
_LGCE = Method("LGCE", "Yuan et al., TGRS 2024, arXiv 2306.08625", "480", _ON_TEST)
_EVF_SAM = Method("EVF-SAM", "Zhang et al., arXiv 2406.20076", caveat=_LATER)
_RMSIN = Method("RMSIN", "Liu et al., CVPR 2024, arXiv 2312.12470", "480")
_FIANET = Method("FIANet", "Lei et al., TGRS 2024, arXiv 2409.13637", "480", _ON_TEST)
_CROBIM = Method("CroBIM", "Dong et al., arXiv 2410.08613")
_RS2SAM2 = Method("RS2-SAM 2", "Rong et al., AAAI 2026, arXiv 2503.07266", "1024")
_DICOR = Method("DiCoR", _UNIDENTIFIED)
_RSREFSEG2 = Method("RSRefSeg 2", "Chen et al., arXiv 2507.06231", caveat=f"{_ON_TEST}; calls mIoU gIoU")
_PSLG_SAM = Method("PSLG-SAM", "Li et al., arXiv 2506.10503", caveat="no code was published")
_EVISAM3 = Method("EviSAM3", _UNIDENTIFIED)
_GEOSELECT = Method("GeoSelect", "paper not identified", caveat="needs no training")

RESULTS: Mapping[str, tuple[PublishedResult, ...]] = {
    "refsegrs": (
        PublishedResult(_LAVT, 47.40, 71.86),
        PublishedResult(_LGCE, 59.96, 76.81),
        PublishedResult(_EVF_SAM, 36.64, 55.51),
        PublishedResult(_RMSIN, 62.58, 75.72),
        PublishedResult(_FIANET, 68.67, 78.32),
        PublishedResult(_CROBIM, 59.77, 72.33),
        PublishedResult(_RS2SAM2, 73.90, 80.87, 84.31, 21.19),
        PublishedResult(_DICOR, 77.96, 84.10),
        PublishedResult(_RSREFSEG2, 77.39, 81.24),
        PublishedResult(_EVISAM3, 80.56, 86.51, 89.93, 45.95),
    ),
    "rrsisd": (
        PublishedResult(_LAVT, 61.04, 77.19),
        PublishedResult(_LGCE, 59.37, 76.34),
        PublishedResult(_EVF_SAM, 62.75, 76.77),
        PublishedResult(_RMSIN, 64.20, 77.79),
        PublishedResult(_FIANET, 64.01, 76.91),
        PublishedResult(_CROBIM, 64.46, 75.99),
        PublishedResult(_RS2SAM2, 66.72, 78.99, 77.56, 29.73),
        PublishedResult(_DICOR, 66.94, 79.45),
        PublishedResult(_RSREFSEG2, 69.06, 79.66),
        PublishedResult(_PSLG_SAM, 70.61, None),
        PublishedResult(_EVISAM3, 70.65, 80.27, 82.81, 30.82),
        PublishedResult(_GEOSELECT, 58.86, 59.48),
    ),
    "risbench": (
        PublishedResult(_LAVT, 61.93, 74.15),
        PublishedResult(_LGCE, 62.13, 73.87),
        PublishedResult(_RMSIN, 63.07, 74.09),
        PublishedResult(_CROBIM, 69.33, 73.04),
        PublishedResult(_DICOR, 70.30, 75.51),
        PublishedResult(_RSREFSEG2, 72.57, None),
    ),
}
"""By the KIND of `KIND:PATH`."""


def benchmark_of(data: Mapping[str, Any]) -> Benchmark | str:
    """The benchmark that a run measured in full, or one sentence that says why no published number is comparable.

    `data` is that part of `metrics.json`: `source` (KIND:PATH), `split`, `samples`, `limit`, and `sets`, one for each
    data set.
    """
    if len(data.get("sets", ())) > 1:
        return "This run measured several data sets together; papers report each by itself."
    kind = str(data.get("source", "")).partition(":")[0]
    if kind not in RESULTS:
        return (
            "This data is no official benchmark split: published results are on other images and phrases, "
            "and comparing with them would say nothing."
        )
    name, official = PUBLISHED[kind].name, PUBLISHED[kind].counts["test"]
    split, samples, limit = data.get("split"), data.get("samples"), data.get("limit")
    if split != "test":
        return f"This is the split “{split}” of {name}; papers report the test split."
    if samples != official:
        return (
            f"This folder lists {samples} test samples where {name} has {official}: "
            "it is another data set or incomplete, so published results are not comparable."
        )
    if limit is not None and limit < official:
        return f"Only the first {limit} of {official} test samples were measured; papers measure all of them."
    return Benchmark(name, official, RESULTS[kind])
