"""What a file is that somebody sent, found out before a single pixel is decoded."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path, PurePath

import numpy as np
import PIL.Image
import rasterio
from rasterio.errors import RasterioError

from refersat.rasters import unplaced_is_fine
from refersat.service.problems import Problem
from refersat.service.settings import Limits

_MAGIC = (
    (b"II*\0", "GTiff", ".tif"),
    (b"MM\0*", "GTiff", ".tif"),
    (b"II+\0", "GTiff", ".tif"),
    (b"MM\0+", "GTiff", ".tif"),
    (b"\x89PNG\r\n\x1a\n", "PNG", ".png"),
    (b"\xff\xd8\xff", "JPEG", ".jpg"),
    (b"\0\0\0\x0cjP  \r\n", "JP2OpenJPEG", ".jp2"),
    (b"\xff\x4f\xff\x51", "JP2OpenJPEG", ".j2k"),
    (b"RIFF", "WEBP", ".webp"),
)
# A JPEG may begin with a comment that makes GDAL take it for one of its own documents, which name other files.
_DOCUMENTS = (b"<VRTDataset", b"<GDAL_WMS", b"<GDAL_WMTS", b"<Capabilities", b"<PAMDataset", b"<GDALTileIndex")
_HEAD = 8192
# GDAL finds the marks of documents in the text that a file begins with, which ends at its first zero.
_TEXT = 64
_MAX_BANDS = 64
_MAX_DECODED_BYTES_PER_PIXEL = 64
_USUAL_BLOCK = 4096 * 4096
_BLOCK_BYTES = 8  # for each pixel that an image may have
_MAX_STEM = 60


@dataclass(frozen=True)
class Header:
    """What the first bytes of an image say.

    Attributes:
        driver: GDAL's for it.
        ending: that files of its kind have.
        width, height: in pixels.
    """

    driver: str
    ending: str
    width: int
    height: int


def read_header(path: Path, limits: Limits) -> Header:
    """What a file is; only images of the usual kinds pass.

    Raises:
        Problem: 415 it is none, 413 it has too many pixels, 400 it is damaged.
    """
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        raise Problem(400, "the image is an empty file")
    kind = next(((driver, ending) for magic, driver, ending in _MAGIC if head.startswith(magic)), None)
    if kind is None or 0 not in head[:_TEXT] or any(document in head for document in _DOCUMENTS):
        raise Problem(415, "this is no image that the server takes: send a PNG, JPEG, TIFF, JPEG 2000 or WebP")
    driver, ending = kind
    try:
        with unplaced_is_fine(), rasterio.open(path, driver=driver) as dataset:
            width, height = int(dataset.width), int(dataset.height)
            depth = sum(np.dtype(name).itemsize for name in dataset.dtypes)
            bands, blocks = dataset.count, [rows * columns for rows, columns in dataset.block_shapes]
    except (RasterioError, TypeError):
        raise Problem(400, "the image is damaged or cut short: its header cannot be read") from None
    if width * height > limits.pixels:
        raise Problem(
            413, f"the image has {width} x {height} pixels, more than {limits.pixels / 1e6:.0f} million: cut it first"
        )
    if not bands:
        raise Problem(400, "the file holds several rasters and none by itself: extract one with gdal_translate first")
    if bands > _MAX_BANDS or depth > _MAX_DECODED_BYTES_PER_PIXEL:
        raise Problem(413, f"the image has {bands} bands of {depth} bytes a pixel: select fewer with gdal_translate")
    # A block is decoded whole, however little of it the image is.
    if max(blocks) > max(4 * width * height, _USUAL_BLOCK) or max(blocks) * depth > _BLOCK_BYTES * limits.pixels:
        raise Problem(413, "the image is stored in blocks that are too large: write it with -co TILED=YES first")
    if driver == "PNG":
        _require_whole(path)
    return Header(driver, ending, width, height)


def _require_whole(path: Path) -> None:
    """GDAL reads a PNG that is cut short without a word. This checks its sums, without decoding."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PIL.Image.DecompressionBombWarning)  # its pixels were counted
            with PIL.Image.open(path) as picture:
                picture.verify()
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
        raise Problem(400, "the image is damaged or cut short") from None


def plain_stem(name: str) -> str:
    """A file's name without its folder and ending, of letters that any file system and address bears."""
    stem = PurePath(name.replace("\\", "/")).stem
    return re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:_MAX_STEM] or "image"


def plain_name(name: str) -> str:
    """A file's name as it is shown: without folders and control characters."""
    shown = "".join(character for character in PurePath(name.replace("\\", "/")).name if character.isprintable())
    return shown[:200] or "image"
