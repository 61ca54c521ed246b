"""Masks that lie in files of their own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from refersat.errors import UserError


def read_mask(path: Path, *, above: int = 0) -> NDArray[np.bool_]:
    """Read a mask file of any raster format: bool (H, W), True where any band except an alpha band is over `above`.

    Raises:
        UserError: the file is not a raster, or damaged.
    """
    return np.asarray((_read_bands(path) > above).any(axis=0))


def count_grey(path: Path) -> int:
    """Pixels of a mask file of 8 bits that are neither 0 nor 255 (nor 1, where nothing is larger) in some band.

    There are none in a mask of two values. Those that there are change sides with the value at which one cuts.

    Raises:
        UserError: the file is not a raster, or damaged.
    """
    values = _read_bands(path)
    white = 255 if values.max(initial=0) > 1 else 1
    return int(np.count_nonzero(((values != 0) & (values != white)).any(axis=0)))


def _read_bands(path: Path) -> NDArray[Any]:
    """Bands (C, H, W) without alpha."""
    import rasterio
    from rasterio.enums import ColorInterp
    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    _require_whole(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path) as source:
                bands = [k for k, kind in enumerate(source.colorinterp, start=1) if kind != ColorInterp.alpha]
                values: NDArray[Any] = source.read(bands or None)
    except RasterioError as error:
        raise UserError(f"cannot read the mask {path}: {error}") from error
    return values


def _require_whole(path: Path) -> None:
    """GDAL reads the rest of a PNG that is cut short as background, without a word; its checksums tell."""
    if path.suffix.lower() != ".png":
        return
    try:
        with PIL.Image.open(path) as picture:
            picture.verify()
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"cannot read the mask {path}: {error}") from error
