"""Where a scene lies: a file, an address in the web or in S3, or an asset of a STAC item."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from refersat.errors import UserError
from refersat.imagery import require_file

_REMOTE = ("http://", "https://", "s3://", "gs://", "az://", "zip://", "tar://", "gzip://", "/vsi")
_PREFERRED = ("visual", "image", "data")  # names and roles by which items tell their picture from the rest
_RASTERS = (".tif", ".tiff", ".jp2")
_PICTURES = (".png", ".jpg", ".jpeg", ".webp")  # previews are such, too: only what goes by such a name counts


@dataclass(frozen=True)
class Source:
    """A raster that exists, or an address of the web.

    Attributes:
        address: what GDAL opens.
        stem: what output files are called after.
        remote: whether reading it goes over the network.
    """

    address: str
    stem: str
    remote: bool = False


def find_source(scene: str | Path, *, asset: str | None = None) -> Source:
    """The raster behind what a user calls a scene. Nothing is fetched, and only a web address leads to the web.

    Args:
        scene: a file; an address that starts with http://, https:// or s3://; or the file of a STAC item (JSON).
        asset: which of the item's assets.

    Raises:
        UserError: there is no such file or asset.
    """
    text = str(scene)
    if text.startswith(_REMOTE):
        if asset is not None:
            raise UserError("--asset is for STAC items: give the item as a file (download its JSON first)")
        return _remote(text)
    path = Path(scene)
    require_file(path)
    item = _stac_item(path) if path.suffix.lower() in (".json", ".geojson") else None
    if item is None:
        if asset is not None:
            raise UserError(f"--asset is for STAC items, and {path} is none")
        return Source(str(path), path.stem)
    href = choose_asset(item["assets"], str(path), asset)
    if href.startswith(_REMOTE):
        return _remote(href)
    target = path.parent / href.removeprefix("file://")
    require_file(target)
    return Source(str(target), target.stem)


def _remote(address: str) -> Source:
    return Source(address, PurePosixPath(address.partition("?")[0]).stem or "scene", remote=True)


def _stac_item(path: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        return None
    return content if isinstance(content, dict) and isinstance(content.get("assets"), dict) else None


def choose_asset(assets: dict[str, Any], name: str, asset: str | None) -> str:
    """The address of a STAC item's image, as the item gives it.

    Args:
        assets: the item's.
        name: the item's, for messages.
        asset: which; its visual one, or its only image, when None.

    Raises:
        UserError: there is no such asset, or several images and no choice.
    """
    images = {called: entry for called, entry in assets.items() if _is_image(called, entry)}
    if asset is not None:
        if asset not in assets or not isinstance(assets[asset].get("href"), str):
            raise UserError(f"{name} has no asset {asset!r}: it has {', '.join(sorted(assets))}")
        return str(assets[asset]["href"])
    rasters = {called: entry for called, entry in images.items() if not _is_picture(entry)}
    for among in (rasters, images):  # a picture has no place on the ground
        for wanted in _PREFERRED:
            for called, entry in among.items():
                if _goes_by(wanted, called, entry):
                    return str(entry["href"])
    if len(images) == 1:
        return str(next(iter(images.values()))["href"])
    raise UserError(f"{name} has {len(images)} images: choose with --asset, from {', '.join(sorted(assets)) or 'none'}")


def _is_image(called: str, entry: Any) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("href"), str):
        return False
    roles = entry.get("roles", ())
    if "thumbnail" in roles or "overview" in roles:
        return False
    chosen = any(_goes_by(wanted, called, entry) for wanted in _PREFERRED)
    endings = (*_RASTERS, *_PICTURES) if chosen else _RASTERS
    return str(entry.get("type", "")).startswith("image/") or entry["href"].lower().endswith(endings)


def _is_picture(entry: dict[str, Any]) -> bool:
    return str(entry["href"]).lower().endswith(_PICTURES) or entry.get("type") in ("image/jpeg", "image/png")


def _goes_by(wanted: str, called: str, entry: dict[str, Any]) -> bool:
    return called == wanted or wanted in entry.get("roles", ())
