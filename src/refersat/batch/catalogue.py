"""From what the user calls a catalogue to its rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from refersat.batch.addresses import SUFFIXES, is_pattern, is_remote, joined, list_images
from refersat.batch.rows import Catalogue, ask_each
from refersat.batch.stac import read_stac
from refersat.batch.tabular import TABLE_SUFFIXES, Columns, read_table
from refersat.errors import UserError
from refersat.question import check_phrase


def read_catalogue(address: str, phrases: Sequence[str] = (), columns: Columns | None = None) -> Catalogue:
    """The rows of a folder, a pattern, a table (CSV, TSV, JSON lines, Parquet, GeoParquet), a STAC file or one image.

    Paths in a table or STAC file are relative to it. What is wrong with one row is its `fault`; nothing is opened yet.

    Args:
        address: a path, or an address that fsspec opens.
        phrases: asked about every image; may be empty only where the catalogue has a column of phrases.
        columns: which columns hold what.

    Raises:
        UserError: there is no such catalogue, it holds nothing, or there are no phrases.
    """
    columns = columns or Columns()
    plain = [check_phrase(phrase) for phrase in phrases]
    place = address if is_remote(address) else joined(".", address)
    suffix = PurePosixPath(place.partition("?")[0] if "://" in place else place).suffix.lower()
    if suffix in TABLE_SUFFIXES and not is_pattern(place):
        _require(place)
        found = read_table(place, suffix, columns, wants_phrases=not plain)
        return _finished(place, f"table ({suffix.removeprefix('.')})", found, plain)
    if not plain:
        raise UserError('no phrase given: add for example -t "all ships"')
    if suffix in (".json", ".geojson") and not is_pattern(place):
        _require(place)
        return _finished(place, "STAC", read_stac(place, columns.asset), plain)
    if is_pattern(place) or (Path(place).is_dir() if not is_remote(place) else suffix not in SUFFIXES):
        kind = "pattern" if is_pattern(place) else "folder"
        return _finished(place, kind, [(image, None, None) for image in list_images(place)], plain)
    _require(place)
    return _finished(place, "image", [(place, None, None)], plain)


def _finished(
    address: str, kind: str, found: Sequence[tuple[str, str | None, str | None]], phrases: Sequence[str]
) -> Catalogue:
    rows = tuple(ask_each(found, phrases))
    if not rows:
        raise UserError(f"{address} has no rows")
    return Catalogue(address, kind, rows)


def _require(place: str) -> None:
    if not is_remote(place) and not Path(place).is_file():
        raise UserError(
            f"no such catalogue: {place} (a folder, a pattern in quotes, a .csv, .jsonl, .parquet or STAC .json file)"
        )
