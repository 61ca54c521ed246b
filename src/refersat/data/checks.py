"""Looking at one image of a data set, and at the truth of every sample that asks about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from refersat.box import box_iou, hull, mask_box
from refersat.data.leakage import Fingerprint, fingerprint
from refersat.data.masks import count_grey
from refersat.data.samples import Sample
from refersat.data.scan import ImageGroup
from refersat.data.segmentation import SegmentedMask
from refersat.errors import UserError
from refersat.imagery import read_image

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOX_MARGIN = 1.0
"""Pixels that a box may stand out: some data sets count from 1, and include the last pixel."""

LEAST_BOX_OVERLAP = 0.5
"""IoU of the boxes' hull with the mask's; below that, width and height were probably taken for a corner."""


@dataclass(frozen=True)
class FaultKind:
    """`fatal` faults make a data set unusable: an evaluation would stop at them or count them wrongly."""

    fatal: bool
    meaning: str


FAULTS: Mapping[str, FaultKind] = {
    "no-samples": FaultKind(True, "nothing is listed"),
    "listing": FaultKind(True, "a sample is listed wrongly and was left out"),
    "image-missing": FaultKind(True, "the image file is not there"),
    "image-unreadable": FaultKind(True, "the image cannot be opened or is cut short"),
    "mask-missing": FaultKind(True, "the mask file is not there"),
    "mask-unreadable": FaultKind(True, "the mask cannot be read"),
    "mask-size": FaultKind(True, "mask and image differ in size"),
    "no-truth": FaultKind(True, "neither mask nor box, and not said to be absent"),
    "id-twice": FaultKind(True, "two samples have the same id"),
    "mask-empty": FaultKind(False, "the mask is empty: counted with an IoU of 0, whatever the answer"),
    "mask-stretched": FaultKind(False, "the mask is a little larger or smaller than its image, and stretched onto it"),
    "mask-grey": FaultKind(False, "the mask has more than two values: what is foreground depends on the reader"),
    "mask-full": FaultKind(False, "the mask covers the whole image"),
    "mask-of-absent": FaultKind(False, "the phrase is said to name nothing, but there is a mask or a box"),
    "box-empty": FaultKind(False, "the box has no area, or its corners are exchanged"),
    "box-outside": FaultKind(False, "the box stands out of the image"),
    "box-elsewhere": FaultKind(False, "the boxes are not where the mask is"),
    "asked-twice": FaultKind(False, "the same phrase about the same image, more than once in a split"),
    "count": FaultKind(False, "not as many samples as published: results cannot be compared with papers"),
    "same-image": FaultKind(False, "an image lies in two splits"),
    "same-content": FaultKind(False, "images of two splits have equal pixels"),
    "near-duplicate": FaultKind(False, "images of two splits show nearly the same"),
}
"""Every fault that a verification may report, in the order of reports."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: its kind (a key of `FAULTS`), the file, and the sample if it is about a single one."""

    kind: str
    file: str
    message: str
    split: str | None = None
    sample: str | None = None

    @property
    def fatal(self) -> bool:
        """Whether it makes the data set unusable."""
        return FAULTS[self.kind].fatal


@dataclass(frozen=True)
class ImageCheck:
    """What was found at one image; `fingerprint` is None if it cannot be read."""

    faults: tuple[Fault, ...]
    fingerprint: Fingerprint | None


def check_group(group: ImageGroup) -> ImageCheck:
    """Open an image, and all that belongs to it."""
    faults: list[Fault] = []
    shape: tuple[int, int] | None = None
    mark: Fingerprint | None = None
    splits = ", ".join(sorted({sample.split for sample in group.samples if sample.split})) or None
    if not os.path.isfile(group.image):  # noqa: PTH113 - False, too, for names that no file can have
        faults.append(Fault("image-missing", str(group.image), _asked_by(group), splits))
    else:
        try:
            rgb = read_image(group.image).rgb
            shape, mark = (rgb.shape[0], rgb.shape[1]), fingerprint(rgb)
        except UserError as error:
            faults.append(Fault("image-unreadable", str(group.image), str(error), splits))
    for sample in group.samples:
        faults += _check_sample(sample, shape)
    return ImageCheck(tuple(faults), mark)


def _asked_by(group: ImageGroup) -> str:
    more = f" and {len(group.samples) - 1} more" if len(group.samples) > 1 else ""
    return f"no such file; sample {group.samples[0].id}{more} asks about it"


def _check_sample(sample: Sample, shape: tuple[int, int] | None) -> Iterator[Fault]:
    mask: NDArray[np.bool_] | None = None
    if sample.load_mask is not None:
        found = _read_truth(sample, shape)
        if isinstance(found, Fault):
            yield found
            return
        mask, oddities = found
        yield from oddities
    elif not sample.boxes and not sample.absent:
        yield _at(sample, "no-truth", "no mask, no box")
    filled = 0 if mask is None else int(np.count_nonzero(mask))
    if sample.absent and (filled or sample.boxes):
        yield _at(sample, "mask-of-absent", f"{filled} pixels are set" if filled else "there is a box")
    elif mask is not None and not sample.absent:
        if not filled:
            yield _at(sample, "mask-empty", "no pixel is set")
        elif filled == mask.size:
            yield _at(sample, "mask-full", "every pixel is set")
    yield from _check_boxes(sample, shape, mask if filled else None)


def _at(sample: Sample, kind: str, message: str) -> Fault:
    """A fault of the truth of a sample: in the mask's file where it has one, else told with the image."""
    return Fault(kind, str(mask_file(sample) or sample.image), message, sample.split, sample.id)


def _read_truth(sample: Sample, shape: tuple[int, int] | None) -> Fault | tuple[NDArray[np.bool_], list[Fault]]:
    """The mask and what is odd about it, or why it cannot be used with an image of that shape."""
    assert sample.load_mask is not None
    file = mask_file(sample)
    if file is not None and not os.path.isfile(file):  # noqa: PTH113
        return _at(sample, "mask-missing", "no such file")
    oddities = []
    try:
        if isinstance(sample.load_mask, SegmentedMask):
            mask = sample.load_mask.stored()
            if mask.shape != shape:
                stored, mask = mask.shape, sample.load_mask()
                if mask.shape == shape:
                    oddities.append(_at(sample, "mask-stretched", f"{_size(stored)} pixels, the image {_size(shape)}"))
        else:
            mask = sample.load_mask()
        if file is not None and (grey := count_grey(file)):
            oddities.append(_at(sample, "mask-grey", f"{grey} pixels are neither 0 nor 255"))
    except UserError as error:
        return _at(sample, "mask-unreadable", str(error))
    except Exception as error:  # whatever is wrong with one mask, the others are still to be looked at
        return _at(sample, "mask-unreadable", f"{type(error).__name__}: {error}")
    if shape is not None and mask.shape != shape:
        return _at(sample, "mask-size", f"the mask has {_size(mask.shape)} pixels, the image {_size(shape)}")
    return mask, oddities


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"


def mask_file(sample: Sample) -> Path | None:
    """The file of the mask where it has one of its own: readers bind `load_mask` to it."""
    bound = sample.load_mask.args if isinstance(sample.load_mask, partial) else ()
    return next((value for value in bound if isinstance(value, Path)), None)


def _check_boxes(sample: Sample, shape: tuple[int, int] | None, mask: NDArray[np.bool_] | None) -> Iterator[Fault]:
    good = True
    for box in sample.boxes:
        x0, y0, x1, y1 = box
        text = f"({', '.join(f'{value:g}' for value in box)})"
        if not (x0 < x1 and y0 < y1):  # also what is not a number
            good = False
            yield Fault("box-empty", str(sample.image), f"x0, y0, x1, y1 are {text}", sample.split, sample.id)
        elif shape is not None and not (
            min(x0, y0) >= -BOX_MARGIN and x1 <= shape[1] + BOX_MARGIN and y1 <= shape[0] + BOX_MARGIN
        ):
            good = False
            message = f"{text} in an image of {shape[1]} x {shape[0]}"
            yield Fault("box-outside", str(sample.image), message, sample.split, sample.id)
    if sample.boxes and good and mask is not None:
        overlap = box_iou(hull(sample.boxes), mask_box(mask))
        if overlap < LEAST_BOX_OVERLAP:
            message = f"the IoU of the boxes' hull with the mask's is {overlap:.2f}"
            yield Fault("box-elsewhere", str(sample.image), message, sample.split, sample.id)
