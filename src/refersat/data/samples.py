"""What every reader of a data set returns: samples of (image, phrase, mask), listed now and read later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from refersat.box import Box

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALL_SPLITS = "all"


@dataclass(frozen=True)
class Sample:
    """One phrase about one image.

    Attributes:
        id: unique within its data set.
        image: file of the image.
        phrase: as published.
        load_mask: reads the truth, bool (H, W), when called; None where the data set has no mask for the phrase: it
            names nothing (`absent`), or the data set has `boxes` only.
        mask_file: the file that `load_mask` reads, where the mask has one of its own.
        boxes: of the targets where the data set says them; recomputed from the mask where its own cannot be trusted.
        type: kind of phrase ("position", "absent-category", ...), if known.
        category: kind of object, if known.
        split: the part of the data set that it belongs to, if it has parts.
        image_id: of the image in the data set's own numbering; several samples share one.
        absent: the phrase is known to name nothing in the image.
    """

    id: str
    image: Path
    phrase: str
    load_mask: Callable[[], NDArray[np.bool_]] | None
    boxes: tuple[Box, ...] = ()
    type: str | None = None
    category: str | None = None
    split: str | None = None
    image_id: str | None = None
    absent: bool = False
    mask_file: Path | None = None


@dataclass(frozen=True)
class SampleSet:
    """The samples of one split.

    Attributes:
        name: of the data set.
        split: as asked for.
        fingerprint: sha256 of the files that list the samples.
        samples: in the order of those files.
        faults: what had to be left out, a line each; always empty where the reader was strict.
    """

    name: str
    split: str
    fingerprint: str
    samples: tuple[Sample, ...]
    faults: tuple[str, ...] = ()
