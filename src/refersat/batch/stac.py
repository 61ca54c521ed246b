"""Catalogues in STAC: an item, a list of items, or a collection or catalogue with links to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from refersat.batch.addresses import joined, read_bytes
from refersat.errors import UserError
from refersat.scene.source import choose_asset

_MOST_FILES = 1_000_000


def read_stac(address: str, asset: str | None) -> list[tuple[str, None, str | None]]:
    """Image, no phrase, and the fault of each item; links are followed below the file.

    Args:
        address: of the JSON file.
        asset: which asset of each item; its visual one, or its only image, when None.

    Raises:
        UserError: the file itself cannot be read, or is no STAC.
    """
    found = list(_entries(address, asset))
    if not found:
        raise UserError(f"{address} leads to no items")
    return found


def href_of(assets: Mapping[str, Any], name: str, asset: str | None) -> str:
    """Where the image of an item's assets lies, as the item says it.

    Raises:
        UserError: there is no such asset, or the choice is not clear.
    """
    return choose_asset(dict(assets), name, asset)


def _entries(address: str, asset: str | None) -> Iterator[tuple[str, None, str | None]]:
    waiting, seen, first = [address], {address}, True
    while waiting:
        place = waiting.pop(0)
        try:
            content = _read(place)
        except UserError as error:
            if first:
                raise
            yield place, None, str(error)
            continue
        first = False
        base = place.rpartition("/")[0] or "."
        items = content.get("features") if content.get("type") == "FeatureCollection" else [content]
        for item in items or ():
            if isinstance(item, dict) and isinstance(item.get("assets"), dict) and item.get("type") == "Feature":
                yield _entry(item, base, place, asset)
        for link in content.get("links") or ():
            if not isinstance(link, dict) or link.get("rel") not in ("item", "child") or not link.get("href"):
                continue
            target = joined(base, str(link["href"]))
            if target not in seen and len(seen) < _MOST_FILES:
                seen.add(target)
                waiting.append(target)


def _entry(item: Mapping[str, Any], base: str, place: str, asset: str | None) -> tuple[str, None, str | None]:
    try:
        return joined(base, href_of(item["assets"], str(item.get("id", place)), asset)), None, None
    except UserError as error:
        return str(item.get("id", place)), None, str(error)


def _read(address: str) -> dict[str, Any]:
    try:
        content = json.loads(read_bytes(address))
    except ValueError as error:
        raise UserError(f"{address} is no JSON: {error}") from error
    kinds = ("Feature", "FeatureCollection", "Collection", "Catalog")
    if not isinstance(content, dict) or content.get("type") not in kinds:
        raise UserError(
            f"{address} is no STAC item, collection or catalogue: give tables as .csv, .jsonl, .parquet or .geoparquet"
        )
    return content
