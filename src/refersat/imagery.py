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
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from refersat.errors import UserError

MAX_PIXELS = 100_000_000  # about 1 GB for the image, its probabilities and its mask; larger scenes need tiling
STRETCH_PERCENTILES = (2.0, 98.0)

_SAMPLED_PIXELS = 4_000_000  # percentiles of a regular sample of this size are good to a grey level
_CMYK = (ColorInterp.cyan, ColorInterp.magenta, ColorInterp.yellow, ColorInterp.black)
_RGB = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
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


def _read_file(path: Path, bands: Sequence[int] | None) -> Image:
    _require_file(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NotGeoreferencedWarning)
        try:
            dataset = rasterio.open(path)
        except RasterioError:
            return _read_with_pillow(path)
    # Not all drivers then give the identity: some leave the transform's memory as it was.
    placed = not any(issubclass(warning.category, NotGeoreferencedWarning) for warning in caught)
    with dataset:
        _require_size(dataset.height, dataset.width, str(path))
        try:
            _require_whole(dataset, path)
            return _from_dataset(dataset, path, bands, placed=placed and dataset.transform != affine.identity)
        except (RasterioError, OSError, SyntaxError) as error:
            raise UserError(f"{path} is damaged or cut short: its pixels cannot be read") from error


def _require_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: give image files, for example {path / '*.tif'}")
        if not path.is_file():
            raise UserError(f"no such image: {path}")
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if empty:
        raise UserError(f"{path} is an empty file")


def _require_whole(dataset: Any, path: Path) -> None:
    """GDAL reads some formats that are cut short without a word; Pillow does not."""
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
        raise UserError(f"{path} is not an image that rasterio or Pillow can read") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} is damaged or cut short: its pixels cannot be read") from error


def _from_dataset(dataset: Any, path: Path, bands: Sequence[int] | None, *, placed: bool) -> Image:
    if dataset.count == 0:
        raise UserError(f"{path} holds several rasters and none by itself: extract one with gdal_translate first")
    indexes = _chosen_bands(dataset, path, bands)
    valid = _valid_pixels(dataset, indexes)
    values = dataset.read(indexes)
    kinds = tuple(dataset.colorinterp[index - 1] for index in indexes)
    if kinds == (ColorInterp.palette,):
        values = _look_up(values[0], dataset.colormap(indexes[0]))
    elif kinds == _CMYK:
        ink = _to_8_bit(values, valid).astype(np.uint16)
        values = ((255 - ink[:3]) * (255 - ink[3]) // 255).astype(np.uint8)
    elif values.dtype == np.uint8:
        bits = int(dataset.tags(indexes[0], ns="IMAGE_STRUCTURE").get("NBITS", 8))
        values = values if bits >= 8 else (values * (255 / (2**bits - 1))).astype(np.uint8)
    return Image(
        rgb=_to_rgb(values, valid),
        path=path,
        crs_wkt=dataset.crs.wkt if dataset.crs and placed else None,
        transform=dataset.transform if placed else None,
        valid=valid,
    )


def _chosen_bands(dataset: Any, path: Path, bands: Sequence[int] | None) -> list[int]:
    """Numbers of the bands to read, counted from 1: one, three, or four for CMYK."""
    if bands is not None:
        if len(bands) not in (1, 3):
            raise UserError(f"choose one band or three, not {len(bands)}")
        wrong = [band for band in bands if not 1 <= band <= dataset.count]
        if wrong:
            raise UserError(f"{path} has no band {wrong[0]}: its bands are 1 to {dataset.count}")
        return list(bands)
    kinds = list(dataset.colorinterp)
    for wanted in (_CMYK, _RGB):
        if all(kind in kinds for kind in wanted):
            return [kinds.index(kind) + 1 for kind in wanted]
    coloured = [index for index, kind in enumerate(kinds, start=1) if kind != ColorInterp.alpha] or [1]
    return coloured[:3] if len(coloured) >= 3 else coloured[:1]


def _valid_pixels(dataset: Any, indexes: list[int]) -> NDArray[np.bool_] | None:
    flags = {flag for index in indexes for flag in dataset.mask_flag_enums[index - 1]}
    if MaskFlags.alpha in flags:
        return _opaque(dataset.read(dataset.colorinterp.index(ColorInterp.alpha) + 1))
    if flags <= {MaskFlags.all_valid}:
        return None
    return _unless_all(dataset.read_masks(indexes).any(axis=0))


def _opaque(alpha: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where an alpha band lets pixels count; None for a band that is no mask.

    Four-band aerial images often have their near infrared tagged as alpha: values between the ends give it away, and
    what it shows as 0 is water, not a hole.
    """
    low, high = alpha.min(), alpha.max()
    if low == high or ((alpha != low) & (alpha != high)).any():
        return None
    return _unless_all(alpha > 0)


def _unless_all(valid: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    return None if valid.all() else valid


def _look_up(indexes: NDArray[Any], colours: dict[int, tuple[int, ...]]) -> NDArray[np.uint8]:
    table = np.zeros((max(int(indexes.max()), *colours) + 1, 3), dtype=np.uint8)
    for index, colour in colours.items():
        table[index] = colour[:3]
    return np.moveaxis(table[indexes], -1, 0)


def _from_pillow(picture: PIL.Image.Image, name: str, path: Path | None) -> Image:
    _require_size(picture.height, picture.width, name)
    if picture.mode in _GREY_MODES:
        return Image(rgb=_to_rgb(np.asarray(picture)[None], None), path=path)
    valid = _opaque(np.asarray(picture.convert("RGBA"))[..., 3]) if picture.has_transparency_data else None
    return Image(rgb=np.array(picture.convert("RGB")), path=path, valid=valid)


def _from_array(array: NDArray[Any]) -> Image:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise UserError(f"an image array is (H, W, 3) or (H, W), not {array.shape}")
    _require_size(array.shape[0], array.shape[1], "the array")
    return Image(rgb=_to_rgb(np.moveaxis(array, -1, 0), None))


def _to_rgb(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """Bands (1 or 3, H, W) of any type to uint8 (H, W, 3)."""
    values = np.moveaxis(_to_8_bit(values, valid), 0, -1)
    return np.array(np.broadcast_to(values, (*values.shape[:2], 3)), order="C")


def _to_8_bit(values: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(values.dtype, np.integer) and not np.issubdtype(values.dtype, np.floating):
        raise UserError(f"pixels of type {values.dtype} cannot be shown as an image")
    return np.stack([_stretch(band, valid) for band in values])


def _stretch(band: NDArray[Any], valid: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    """One band (H, W), linearly from its 2nd..98th percentile to 0..255; what is no number becomes 0."""
    step = max(1, int((band.size / _SAMPLED_PIXELS) ** 0.5))
    sample = band[::step, ::step]
    counts = np.isfinite(sample) if valid is None else np.isfinite(sample) & valid[::step, ::step]
    if not counts.any():
        return np.zeros(band.shape, dtype=np.uint8)
    low, high = (float(value) for value in np.percentile(sample[counts], STRETCH_PERCENTILES))
    if low == high:  # a few things on an even ground: the percentiles see the ground only
        low, high = float(sample[counts].min()), float(sample[counts].max())
    scaled = (band.astype(np.float32) - np.float32(low)) * np.float32(255.0 / ((high - low) or 1.0))
    stretched: NDArray[np.uint8] = np.rint(np.clip(np.nan_to_num(scaled), 0.0, 255.0)).astype(np.uint8)
    return stretched


def _require_size(height: int, width: int, name: str) -> None:
    if height * width > MAX_PIXELS:
        raise _too_large(name)


def _too_large(name: str) -> UserError:
    return UserError(f"{name} has more than {MAX_PIXELS // 1_000_000} million pixels: cut it into smaller images first")
