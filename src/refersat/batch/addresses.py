"""Where an image or a catalogue may lie: a file, an address that GDAL opens, or one that fsspec does."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from refersat.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refersat.imagery import Image

SUFFIXES = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".bmp", ".webp", ".vrt")
"""Which files of a folder are images."""

_GDAL = ("http", "https", "s3", "gs", "az", "zip", "tar", "gzip")
"""Schemes that rasterio knows; it reads only as much as it needs."""


def is_remote(address: str) -> bool:
    """Whether an address is no plain path."""
    return "://" in address or address.startswith("/vsi")


def opened_by_gdal(address: str) -> bool:
    """Whether GDAL opens an address by itself; plain paths it does."""
    return not is_remote(address) or address.startswith("/vsi") or address.partition("://")[0] in _GDAL


def joined(base: str, reference: str) -> str:
    """A reference from within a catalogue, seen from outside.

    Args:
        base: the folder that the catalogue lies in: a path or an address.
        reference: an address, an absolute path, or one relative to the folder.
    """
    reference = reference.strip()
    if reference.startswith("file://"):
        return reference.removeprefix("file://")
    if is_remote(reference):
        return reference
    if is_remote(base):
        parts: list[str] = []
        scheme, _, rest = base.rstrip("/").partition("://")
        for part in [*rest.split("/"), *reference.split("/")]:
            if part == ".." and parts:
                parts.pop()
            elif part not in (".", ".."):
                parts.append(part)
        return f"{scheme}://{'/'.join(parts)}"
    return os.path.normpath(Path(base).absolute() / reference)


def stem_of(address: str) -> str:
    """What output files are called after: the name without its suffix, made safe for any file system."""
    if "://" in address:
        address = address.partition("?")[0].rpartition("!")[2]  # `!` comes before what is in an archive
    name = PurePosixPath(address).stem
    safe = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in name)
    return safe.strip(". ").encode()[:80].decode(errors="ignore") or "image"


def read_bytes(address: str) -> bytes:
    """A whole file, wherever it lies.

    Raises:
        UserError: it is not there, or cannot be read.
    """
    try:
        if not is_remote(address):
            return Path(address).read_bytes()
        with _fsspec().open(address, "rb") as stream:
            content: bytes = stream.read()
        return content
    except ImportError as error:
        raise UserError(f"{address} needs a package that is not installed: {error}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {address}: {getattr(error, 'strerror', None) or error}") from error


def list_images(address: str) -> list[str]:
    """The images in a folder and below, or those that a pattern with `*`, `?` or `[` names; sorted.

    Raises:
        UserError: there are none.
    """
    try:
        found = _list_remote(address) if is_remote(address) else _list_local(address)
    except ImportError as error:
        raise UserError(f"{address} needs a package that is not installed: {error}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"cannot list {address}: {getattr(error, 'strerror', None) or error}") from error
    if not found:
        raise UserError(f"{address} names no images: refersat looks for {', '.join(SUFFIXES)}")
    return sorted(found)


def is_pattern(address: str) -> bool:
    """Whether an address is a pattern and no file."""
    return any(letter in address for letter in "*?[") and (is_remote(address) or not Path(address).exists())


def read(address: str, bands: Sequence[int] | None, scratch: Path) -> Image:
    """An image, wherever it lies; `scratch` is a folder for a copy of it where one is needed.

    Raises:
        UserError: it cannot be read, or is too large.
    """
    from refersat.imagery import read_address, read_image

    if not is_remote(address):
        return read_image(Path(address), bands=bands)
    if opened_by_gdal(address):
        return read_address(address, bands=bands)
    with TemporaryDirectory(dir=scratch) as place:
        copy = Path(place) / PurePosixPath(address).name
        copy.write_bytes(read_bytes(address))
        return read_image(copy, bands=bands)


def _list_local(address: str) -> list[str]:
    import glob

    if is_pattern(address):
        # Path.glob takes no absolute patterns.
        return [path for path in glob.glob(address, recursive=True) if Path(path).is_file()]  # noqa: PTH207
    return [str(path) for path in Path(address).rglob("*") if _looks_like_image(path.relative_to(address))]


def _list_remote(address: str) -> list[str]:
    system, path = _fsspec().core.url_to_fs(address)
    found = system.glob(path) if is_pattern(address) else system.find(path)
    return [system.unstrip_protocol(one) for one in found if _looks_like_image(PurePosixPath(one))]


def _looks_like_image(path: PurePosixPath | Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)


def _fsspec() -> Any:
    try:
        import fsspec
    except ImportError:
        raise UserError("such an address needs fsspec: pip install fsspec") from None
    return fsspec
