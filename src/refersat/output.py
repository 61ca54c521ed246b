"""Writing files so that a reader never meets half of one: a temporary file beside the target, then a rename."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile

from refersat.errors import UserError
from refersat.imagery import Image
from refersat.rasters import unplaced_is_fine


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write a file as a whole or not at all; an older one is replaced at once.

    Raises:
        UserError: the folder does not exist, does not allow it, or the disk is full.
    """
    with replaced_file(path) as temporary:
        temporary.write_bytes(content)


@contextmanager
def replaced_file(path: Path, *, within: Path | None = None) -> Iterator[Path]:
    """Another name to write to; the file takes the place of `path` when the block ends well.

    Args:
        path: what is to be replaced, or made.
        within: a folder of the same file system for the unfinished file; that of `path` when None.

    Raises:
        UserError: the folder does not exist, does not allow it, or the disk is full.
    """
    # The ending stays: some drivers insist on theirs.
    temporary = (within or path.parent) / f".{path.stem[-100:]}.{os.getpid()}.tmp{path.suffix}"
    try:
        try:
            yield temporary
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    # Copying to another format raises GDAL's own errors, which are none of rasterio's and do not name a full disk.
    except (RasterioError, CPLE_BaseError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot write {path}: {reason} (is the disk full?)") from error
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """The folder, made if missing and proved to be writable; if the block fails, what was made and is empty goes again.

    Raises:
        UserError: it is a file, or it cannot be made or written to.
    """
    made: list[Path] = []
    try:
        try:
            made = [place for place in (folder, *folder.parents) if not place.exists()]
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except FileExistsError as error:
            raise UserError(f"{folder} is a file: give a folder to write to") from error
        except OSError as error:
            raise UserError(f"cannot write to the folder {folder}: {error.strerror or error}") from error
        yield folder
    except BaseException:
        _remove_empty(made)
        raise


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:  # innermost first
        try:
            folder.rmdir()
        except OSError:
            return


def mask_tiff(mask: NDArray[np.bool_], image: Image) -> bytes:
    """A mask (H, W) as a TIFF: uint8, 0 and 255, deflate compressed, at the image's place if it has one."""
    height, width = mask.shape
    with unplaced_is_fine(), MemoryFile() as memory:
        with rasterio.open(
            memory.name,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=1,
            dtype="uint8",
            compress="deflate",
            crs=CRS.from_wkt(image.crs_wkt) if image.crs_wkt else None,
            transform=image.transform,
        ) as target:
            target.write(mask.astype(np.uint8) * np.uint8(255), 1)
        return bytes(memory.getbuffer())


def picture_png(rgb: NDArray[np.uint8]) -> bytes:
    """A picture (H, W, 3) as a PNG, in half the time that Pillow takes, for 2 % more bytes.

    Pillow tries all five filters on each line; photographs do as well with the first.
    """
    options = {
        cv2.IMWRITE_PNG_COMPRESSION: 1,
        cv2.IMWRITE_PNG_STRATEGY: cv2.IMWRITE_PNG_STRATEGY_DEFAULT,
        cv2.IMWRITE_PNG_FILTER: cv2.IMWRITE_PNG_FILTER_SUB,
    }
    done, content = cv2.imencode(
        ".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [x for pair in options.items() for x in pair]
    )
    if not done:
        raise ValueError(f"a picture of {rgb.shape[1]} x {rgb.shape[0]} cannot be written as a PNG")
    return content.tobytes()
