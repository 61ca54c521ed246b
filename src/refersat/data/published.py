"""What the authors of the benchmarks say that their data sets hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PublishedSet:
    """What a benchmark holds.

    Attributes:
        name: of the data set.
        counts: samples of each split.
        empty_masks: images with a mask that was published empty, by the stem of their file.
        shares_images: the splits were published with images in common.
    """

    name: str
    counts: Mapping[str, int]
    empty_masks: frozenset[str] = field(default_factory=frozenset)
    shares_images: bool = False


PUBLISHED: Mapping[str, PublishedSet] = {
    # Several papers print 413 for val; the file that everybody uses has 431 lines.
    "refsegrs": PublishedSet("RefSegRS", {"train": 2172, "val": 431, "test": 1817}),
    "rrsisd": PublishedSet(
        "RRSIS-D", {"train": 12181, "val": 1740, "test": 3481}, frozenset({"20203", "22187", "00413"})
    ),
    "rrsis-hr": PublishedSet("RRSIS-HR", {"train": 2118, "val": 268, "test": 264}),
    "risbench": PublishedSet("RISBench", {"train": 26300, "val": 10013, "test": 16159}),
    "dior-rsvg": PublishedSet("DIOR-RSVG", {"train": 26991, "val": 3829, "test": 7500}, shares_images=True),
}
"""By the KIND of `KIND:PATH`. Kinds that anybody may fill (triplets, coco), and those whose authors print no numbers of
each split, are not here."""
