"""Any raster to what the models see: three 8-bit bands, with the georeferencing kept beside them.

Pixels stay where the file stores them: an EXIF orientation is not applied, so that a mask has the width and height that
rasterio and every GIS report for the image. Alpha is dropped, never blended.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import affine
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from refersat.errors import UserError
from refersat.radiometry import Radiometry, find_ranges
from refersat.rasters import alpha_band, chosen_bands, is_mask, may_have_holes, open_raster, radiometry_of

MAX_PIXELS = 100_000_000  # about 1 GB for the image, its probabilities and its mask; larger scenes need tiling

_GREY_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")  # Pillow's modes with more than 8 bits


@dataclass(frozen=True, eq=False)
class Image:
    """An image of H x W pixels.

    `rgb` is uint8 (H, W, 3); `valid` is bool (H, W), False where the file says that there is no data, or None where all
    pixels count. `crs_wkt` and `transform` (pixel corner to CRS) are None where the image has none.
    """

    rgb: NDArray[np.uint8]
    path: Path | None = None
    crs_wkt: str | None = None
    transform: affine.Affine | None = None
    valid: NDArray[np.bool_] | None = None

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.rgb.shape[1])


ImageSource: TypeAlias = "str | os.PathLike[str] | PIL.Image.Image | NDArray[Any] | Image"


def read_image(source: ImageSource, *, bands: Sequence[int] | None = None) -> Image:
    """Read an image from a file, a Pillow image or an array (H, W), (H, W, 1) or (H, W, 3).

    8-bit values are kept as they are. Anything else is stretched linearly, band by band, from its 2nd to its 98th
    percentile over the pixels that hold data. `bands` picks one or three bands of a file by number from 1; without it
    the bands that the file calls red, green and blue are taken, else the first three, else the first one as grey.

    Raises:
        UserError: there is no such file, it is no image, it is damaged, or it is too large.
    """
    if isinstance(source, Image):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source), bands)
    if bands is not None:
        raise UserError("bands can be chosen for files only")
    if isinstance(source, PIL.Image.Image):
        return _from_pillow(source, "the image", None)
    if isinstance(source, np.ndarray):
        return _from_array(source)
    raise UserError(f"an image is a path, a Pillow image or an array, not {type(source).__name__}")


def read_address(address: str, *, bands: Sequence[int] | None = None) -> Image:
    """Read an image from an address that GDAL opens itself (https://, s3://, /vsizip/...); else like `read_image`.

    Raises:
        UserError: it cannot be reached or read, or is too large.
    """
    try:
        dataset, placed = open_raster(address)
        with dataset:
            _require_size(dataset.height, dataset.width, address)
            return _from_dataset(dataset, Path(address), bands, placed=placed)
    except RasterioError as error:
        raise UserError(f"cannot read {address}: {' '.join(str(error).split())}") from error


def _read_file(path: Path, bands: Sequence[int] | None) -> Image:
    require_file(path)
    try:
        dataset, placed = open_raster(str(path))
    except RasterioError:
        return _read_with_pillow(path)
    with dataset:
        _require_size(dataset.height, dataset.width, str(path))
        try:
            require_whole(dataset, path)
            return _from_dataset(dataset, path, bands, placed=placed)
        except (RasterioError, OSError, SyntaxError) as error:
            raise UserError(f"{path} is damaged or cut short: its pixels cannot be read; copy it again") from error


def require_file(path: Path, kind: str = "image") -> None:
    """Refuse what is no file with something in it; `kind` is what it should be, in words.

    Raises:
        UserError: says which.
    """
    try:
        if path.is_dir():
            hint = f": give image files, for example {path / '*.tif'}" if kind == "image" else f", not a {kind}"
            raise UserError(f"{path} is a folder{hint}")
        if not path.is_file():
            raise UserError(f"no such {kind}: {path}; check the path")
        with path.open("rb") as stream:
            empty = not stream.read(1)
        str(path).encode()
    except UnicodeEncodeError as error:  # GDAL knows no other names
        raise UserError(f"cannot read {str(path)!a}: its name is not Unicode, rename it") from error
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if empty:
        raise UserError(f"{path} is an empty file")


def require_whole(dataset: Any, path: Path) -> None:
    """Refuse a file that GDAL reads without a word though it is cut short: Pillow does not.

    Raises:
        OSError, SyntaxError: it is cut short or damaged.
    """
    if dataset.driver not in ("PNG", "TGA"):
        return
    with _open_with_pillow(path) as picture:
        if dataset.driver == "PNG":
            picture.verify()  # the checksum of every chunk, without decoding
        else:
            picture.load()


def _open_with_pillow(path: Path) -> PIL.Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # we have a limit of our own
        return PIL.Image.open(path)


def _read_with_pillow(path: Path) -> Image:
    try:
        with _open_with_pillow(path) as picture:
            return _from_pillow(picture, str(path), path)
    except PIL.Image.DecompressionBombError as error:
        raise _too_large(str(path)) from error
    except PIL.UnidentifiedImageError as error:
        raise UserError(
            f"{path} is not an image that rasterio or Pillow can read: give a GeoTIFF, PNG or JPEG"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is damaged or cut short: its pixels cannot be read; copy it again") from error


def _from_dataset(dataset: Any, path: Path, bands: Sequence[int] | None, *, placed: bool) -> Image:
    indexes = chosen_bands(dataset, str(path), bands)
    valid = _valid_pixels(dataset, indexes)
    values = dataset.read(indexes)
    return Image(
        rgb=radiometry_of(dataset, indexes, values, valid).rgb(values),
        path=path,
        crs_wkt=dataset.crs.wkt if dataset.crs and placed else None,
        transform=dataset.transform if placed else None,
        valid=valid,
    )


def _valid_pixels(dataset: Any, indexes: Sequence[int]) -> NDArray[np.bool_] | None:
    alpha = alpha_band(dataset, indexes)
    if alpha is not None:
        return _opaque(dataset.read(alpha))
    return _unless_all(dataset.read_masks(indexes).any(axis=0)) if may_have_holes(dataset, indexes) else None


def _opaque(alpha: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where an alpha band lets pixels count; None for a band that is no mask."""
    return _unless_all(alpha > 0) if is_mask(alpha) else None


def _unless_all(valid: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    return None if valid.all() else valid


def _from_pillow(picture: PIL.Image.Image, name: str, path: Path | None) -> Image:
    _require_size(picture.height, picture.width, name)
    if picture.mode in _GREY_MODES:
        return Image(rgb=_to_rgb(np.asarray(picture)[None]), path=path)
    valid = _opaque(np.asarray(picture.convert("RGBA"))[..., 3]) if picture.has_transparency_data else None
    return Image(rgb=np.array(picture.convert("RGB")), path=path, valid=valid)


def _from_array(array: NDArray[Any]) -> Image:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise UserError(f"an image array is (H, W, 3) or (H, W), not {array.shape}")
    _require_size(array.shape[0], array.shape[1], "the array")
    return Image(rgb=_to_rgb(np.moveaxis(array, -1, 0)))


def _to_rgb(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Bands (1 or 3, H, W) of any type to uint8 (H, W, 3)."""
    return Radiometry(find_ranges(values, None)).rgb(values)


def _require_size(height: int, width: int, name: str) -> None:
    if height * width > MAX_PIXELS:
        raise _too_large(name)


def _too_large(name: str) -> UserError:
    return UserError(f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels: cut it into smaller images first")
