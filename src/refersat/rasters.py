"""What a raster file says about itself: which bands are colours, which pixels count, where it lies."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import affine
import numpy as np
import rasterio
import rasterio.io
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning

from refersat.errors import UserError
from refersat.radiometry import Radiometry, Stretch, find_ranges

log = logging.getLogger(__name__)

_CMYK = (ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black)
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
_HALF_TRANSPARENT = 0.05
"""Share of values between an alpha band's ends from which on it is no mask; resampled edges stay far below."""


def open_raster(address: str, drivers: Sequence[str] | None = None) -> tuple[Any, bool]:
    """Open a raster; with it, whether it has a place of its own.

    Args:
        address: what GDAL opens.
        drivers: GDAL's, one of which must read it; any when None.

    Raises:
        RasterioError: rasterio cannot read it.
    """
    unplaced, here = False, threading.get_ident()

    def note(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        nonlocal unplaced
        # Warnings are the whole process's: those of another thread are about another raster.
        if not issubclass(category, NotGeoreferencedWarning):
            log.warning("%s", message)
        elif threading.get_ident() == here:
            unplaced = True

    with warnings.catch_warnings():
        warnings.simplefilter("always", NotGeoreferencedWarning)
        warnings.showwarning = note
        if drivers is None:
            dataset = rasterio.open(address)
        else:
            with rasterio.Env():  # `rasterio.open` takes one driver only
                dataset = rasterio.io.DatasetReader(address, driver=list(drivers))
    # Not all drivers then give the identity: some leave the transform's memory as it was.
    return dataset, not unplaced and dataset.transform != affine.identity


@contextmanager
def unplaced_is_fine() -> Iterator[None]:
    """Without rasterio's warning about rasters that have no place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def chosen_bands(dataset: Any, name: str, bands: Sequence[int] | None) -> list[int]:
    """Numbers of the bands to read, counted from 1: one, three, or four for CMYK.

    Without a choice those that the file calls red, green and blue, else the first three, else the first one as grey.

    Raises:
        UserError: it has no band, or none of a number.
    """
    if dataset.count == 0:
        raise UserError(f"{name} holds several rasters and none by itself: extract one with gdal_translate first")
    if bands is not None:
        if len(bands) not in (1, 3):
            raise UserError(f"choose one band or three, not {len(bands)}")
        wrong = [band for band in bands if not 1 <= band <= dataset.count]
        if wrong:
            raise UserError(f"{name} has no band {wrong[0]}: its bands are 1 to {dataset.count}")
        return list(bands)
    kinds = list(dataset.colorinterp)
    for wanted in (_CMYK, _RGB):
        if all(kind in kinds for kind in wanted):
            return [kinds.index(kind) + 1 for kind in wanted]
    coloured = [index for index, kind in enumerate(kinds, start=1) if kind != ColorInterp.alpha] or [1]
    return coloured[:3] if len(coloured) >= 3 else coloured[:1]


def radiometry_of(
    dataset: Any, indexes: Sequence[int], sample: NDArray[Any], valid: NDArray[np.bool_] | None, stretch: Stretch = None
) -> Radiometry:
    """The radiometry of some bands.

    Args:
        dataset: whose bands.
        indexes: their numbers.
        sample: their values (C, H, W), in full or where they were sampled.
        valid: which of these pixels count (H, W); all when None.
        stretch: how; see `refersat.radiometry.Stretch`.

    Raises:
        UserError: values of this type are no image.
    """
    kinds = tuple(dataset.colorinterp[index - 1] for index in indexes)
    if kinds == (ColorInterp.palette,):
        return Radiometry(palette=_table(dataset.colormap(indexes[0])))
    bits = int(dataset.tags(indexes[0], ns="IMAGE_STRUCTURE").get("NBITS", 8)) if sample.dtype == np.uint8 else 8
    return Radiometry(find_ranges(sample, valid, stretch, bits=bits), inks=kinds == _CMYK)


def _table(colours: dict[int, tuple[int, ...]]) -> NDArray[np.uint8]:
    table = np.zeros((max(colours) + 2, 3), dtype=np.uint8)  # the last, black, is for values without a colour
    for index, colour in colours.items():
        table[index] = colour[:3]
    return table


def may_have_holes(dataset: Any, indexes: Sequence[int]) -> bool:
    """Whether the file says that some pixels of these bands may hold no data."""
    return not _flags(dataset, indexes) <= {MaskFlags.all_valid}


def alpha_band(dataset: Any, indexes: Sequence[int]) -> int | None:
    """The number of the alpha band that stands for the mask of these bands, or None."""
    return dataset.colorinterp.index(ColorInterp.alpha) + 1 if MaskFlags.alpha in _flags(dataset, indexes) else None


def _flags(dataset: Any, indexes: Sequence[int]) -> set[MaskFlags]:
    return {flag for index in indexes for flag in dataset.mask_flag_enums[index - 1]}


def is_mask(alpha: NDArray[Any]) -> bool:
    """Whether an alpha band is a mask.

    Four-band aerial images often have their near infrared tagged as alpha: many values between the ends give it away,
    and what it shows as 0 is water, not a hole.
    """
    low, high = alpha.min(), alpha.max()
    between = np.count_nonzero((alpha != low) & (alpha != high))
    return bool(low != high and between <= _HALF_TRANSPARENT * alpha.size)
