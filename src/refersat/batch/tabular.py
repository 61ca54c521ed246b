"""Catalogues that are tables: CSV, JSON lines, Parquet and GeoParquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from refersat.batch.addresses import joined, read_bytes
from refersat.batch.stac import href_of
from refersat.errors import UserError

IMAGE_COLUMNS = ("image", "path", "file", "file_name", "filename", "href", "url", "location")
PHRASE_COLUMNS = ("phrase", "text", "expression", "sentence", "query")
ASSETS = "assets"  # of stac-geoparquet
NO_COLUMN = "none"

_PYARROW = "{} needs pyarrow: pip install 'refersat[parquet]', or give the catalogue as CSV or JSON lines"


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; the usual names when None.

    Attributes:
        image: where the image lies.
        phrase: what to find; "none" for none.
        asset: which asset, where the table lists STAC items.
    """

    image: str | None = None
    phrase: str | None = None
    asset: str | None = None


@dataclass(frozen=True)
class Table:
    """Records with what a broken one says, and the names of their columns."""

    names: Sequence[str]
    records: Iterator[tuple[Mapping[str, Any], str | None]]


def read_table(address: str, suffix: str, columns: Columns, *, wants_phrases: bool) -> list[tuple[str, Any, Any]]:
    """Image, phrase and fault of each record.

    Args:
        address: of the file.
        suffix: its kind, for example ".csv".
        columns: the user's choice.
        wants_phrases: whether phrases must come from the table.

    Raises:
        UserError: it cannot be read, or has no such columns.
    """
    table = _READERS[suffix](address)
    image = _column(columns.image, IMAGE_COLUMNS, table.names) or (ASSETS if ASSETS in table.names else None)
    if image is None:
        raise UserError(_missing(address, columns.image, "image", "--image-column", table.names))
    phrase = None if columns.phrase == NO_COLUMN else _column(columns.phrase, PHRASE_COLUMNS, table.names)
    if phrase is None and (wants_phrases or columns.phrase not in (None, NO_COLUMN)):
        hint = _missing(address, columns.phrase, "phrase", "--phrase-column", table.names)
        raise UserError(f"{hint}; or give the phrases with -t")
    if phrase is not None and not wants_phrases:
        raise UserError(
            f"{address} has phrases of its own in the column {phrase!r}: leave out -t, or add "
            f"--phrase-column {NO_COLUMN} to ask only what -t says"
        )
    base = _folder(address)
    return [_entry(record, fault, image, phrase, base, columns.asset) for record, fault in table.records]


def _entry(
    record: Mapping[str, Any], fault: str | None, image: str, phrase: str | None, base: str, asset: str | None
) -> tuple[str, Any, Any]:
    where, text = record.get(image), record.get(phrase) if phrase else None
    if fault is None and isinstance(where, Mapping):  # the assets of a STAC item
        try:
            where = href_of({name: one for name, one in where.items() if one}, str(record.get("id", "the row")), asset)
        except UserError as error:
            where, fault = None, str(error)
    if fault is None and where is not None and not isinstance(where, str):
        where, fault = None, f"the column {image!r} holds {where!r} and not where the image lies"
    if fault is None and text is not None and not isinstance(text, str):
        text, fault = None, f"the column {phrase!r} holds {text!r} and not a phrase"
    place = joined(base, where) if isinstance(where, str) and where.strip() else ""
    return place, text, fault


def _folder(address: str) -> str:
    return address.rpartition("/")[0] or ("/" if address.startswith("/") else ".")


def _column(wanted: str | None, usual: Sequence[str], names: Sequence[str]) -> str | None:
    if wanted is not None:
        return wanted if wanted in names else None
    plain = {name.strip().lower(): name for name in reversed(names)}
    return next((plain[name] for name in usual if name in plain), None)


def _missing(address: str, wanted: str | None, what: str, option: str, names: Sequence[str]) -> str:
    return (
        f"{address} has no column {wanted or what!r}: choose with {option}, from {', '.join(map(str, names)) or 'none'}"
    )


def _text(address: str) -> str:
    try:
        return read_bytes(address).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{address} is not in UTF-8: save it as such (byte {error.start} is not)") from error


def _read_csv(address: str, delimiter: str = ",") -> Table:
    reader = csv.reader(io.StringIO(_text(address), newline=""), delimiter=delimiter)
    try:
        names = next(reader, [])
    except csv.Error as error:
        raise UserError(f"{address} is no CSV: {error}") from error

    def records() -> Iterator[tuple[Mapping[str, Any], str | None]]:
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield {}, f"line {reader.line_num} is no CSV: {error}"
                continue
            if values:
                wrong = f"line {reader.line_num} has {len(values)} values for {len(names)} columns"
                yield dict(zip(names, values, strict=False)), None if len(values) == len(names) else wrong

    return Table(names, records())


def _read_json_lines(address: str) -> Table:
    found: list[tuple[Mapping[str, Any], str | None]] = []
    names: dict[str, None] = {}
    # Not `splitlines`, which also cuts at characters that a phrase may hold.
    for number, line in enumerate(_text(address).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            found.append(({}, f"line {number} is no JSON: {error}"))
            continue
        if not isinstance(record, dict):
            found.append(({}, f"line {number} is no JSON object"))
            continue
        names.update(dict.fromkeys(record))
        found.append((record, None))
    return Table(list(names), iter(found))


def _read_parquet(address: str) -> Table:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserError(_PYARROW.format(address)) from None
    content = read_bytes(address)
    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content))
        names = file.schema_arrow.names
        wanted = [name for name in names if name not in ("geometry", "bbox")]

        def records() -> Iterator[tuple[Mapping[str, Any], str | None]]:
            for some in file.iter_batches(columns=wanted):
                for record in some.to_pylist():
                    yield record, None

        return Table(names, records())
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{address} is no Parquet file: {error}") from error


def _read_tsv(address: str) -> Table:
    return _read_csv(address, "\t")


_READERS = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".parquet": _read_parquet,
    ".geoparquet": _read_parquet,
}

TABLE_SUFFIXES = tuple(_READERS)
