"""The two tables of a batch: one line for each row, and one polygon for each that was found anywhere."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import shapely

from refersat.batch.ledger import Ledger
from refersat.batch.rows import Asked, Catalogue, Row
from refersat.output import replaced_file, write_file
from refersat.vector import LONGITUDE_LATITUDE

RESULTS = "results.csv"
POLYGONS = "polygons.parquet"

DONE, FAILED, PENDING = "done", "failed", "pending"

_COLUMNS = (
    "row",
    "image",
    "phrase",
    "status",
    "present",
    "score",
    "area",
    "area_unit",
    "area_px",
    "mask",
    "polygons",
    "seconds",
    "error",
)
_AT_ONCE = 4096  # polygons of one row group


@dataclass(frozen=True)
class Summary:
    """What became of all rows.

    Attributes:
        rows, found, absent, failed, pending: how many there are, and of each kind.
        polygons: how many; None where the table was left out.
        seconds: of work on images, all workers together.
        errors: how often each came, the most frequent first.
    """

    rows: int
    found: int
    absent: int
    failed: int
    pending: int
    polygons: int | None
    seconds: float
    errors: Sequence[tuple[str, int]]


def has_parquet() -> bool:
    """Whether the table of polygons can be written: it needs pyarrow."""
    from importlib.util import find_spec

    return find_spec("pyarrow") is not None


def write_tables(ledger: Ledger, catalogue: Catalogue) -> Summary:
    """Write `results.csv`, in the order of the catalogue, and `polygons.parquet`, from what is done.

    Raises:
        UserError: the disk is full, or does not allow it.
    """
    lines: list[dict[str, Any]] = [
        {"row": row.number, "image": row.image, "phrase": row.phrase, "status": FAILED, "error": row.fault}
        for row in catalogue.faults
    ]
    seconds, count = 0.0, 0
    has_polygons = has_parquet()
    writer: AbstractContextManager[_Polygons | None] = (
        _polygon_file(ledger.out / POLYGONS) if has_polygons else nullcontext()
    )
    with writer as polygons:
        for asked in catalogue.asked():
            record = ledger.record(asked.unit.name)
            lines += _lines(ledger, asked, record)
            if record is not None:
                seconds += record.get("seconds", 0.0)
                if polygons is not None and record["error"] is None:
                    polygons.add(ledger, asked, record)
        if polygons is not None:
            count = polygons.close()
    lines.sort(key=lambda line: int(line["row"]))
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    table.writeheader()
    table.writerows(lines)
    write_file(ledger.out / RESULTS, text.getvalue().encode(errors="replace"))
    return _summary(lines, seconds, count if has_polygons else None)


def _lines(ledger: Ledger, asked: Asked, record: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    folder = ledger.folder(asked.unit.name).relative_to(ledger.out)
    for row in asked.rows:
        line: dict[str, Any] = {"row": row.number, "image": row.image, "phrase": row.phrase}
        if record is None:
            yield line | {"status": PENDING}
        elif record["error"] is not None:
            yield line | {"status": FAILED, "error": record["error"], "seconds": record.get("seconds")}
        else:
            answer = record["answers"][asked.unit.phrases.index(row.phrase)]
            yield line | {
                "status": DONE,
                "present": str(answer["present"]).lower(),
                "mask": (folder / answer["mask"]).as_posix(),
                "polygons": (folder / answer["polygons"]).as_posix(),
                **{name: answer[name] for name in ("score", "area", "area_unit", "area_px", "seconds")},
            }


def _summary(lines: Sequence[Mapping[str, Any]], seconds: float, polygons: int | None) -> Summary:
    errors: dict[str, int] = {}
    for line in lines:
        if line["status"] == FAILED:
            # Without the place, so that a thousand missing files are one line.
            error = str(line["error"]).replace(str(line["image"]), "IMAGE") if line["image"] else str(line["error"])
            errors[error] = errors.get(error, 0) + 1
    found = sum(line.get("present") == "true" for line in lines)
    done = sum(line["status"] == DONE for line in lines)
    return Summary(
        rows=len(lines),
        found=found,
        absent=done - found,
        failed=sum(errors.values()),
        pending=sum(line["status"] == PENDING for line in lines),
        polygons=polygons,
        seconds=seconds,
        errors=sorted(errors.items(), key=lambda item: -item[1]),
    )


class _Polygons:
    """Features of finished units, a row group at a time.

    `geometry` is in longitude and latitude, `pixels` in pixels of images that have no place on the ground: of each
    polygon one of them.
    """

    def __init__(self, writer: Any, schema: Any) -> None:
        self._writer, self._schema = writer, schema
        self._waiting: list[dict[str, Any]] = []
        self._count = 0

    def add(self, ledger: Ledger, asked: Asked, record: Mapping[str, Any]) -> None:
        """The polygons of a unit, from its GeoJSON file; other kinds of files have none here."""
        names = {answer["polygons"] for answer in record["answers"]}
        rows: dict[str, Row] = {}
        for row in reversed(asked.rows):
            rows[row.phrase] = row
        for name in sorted(names):
            if Path(name).suffix != ".geojson":
                continue
            content = json.loads((ledger.folder(asked.unit.name) / name).read_bytes())
            column = "geometry" if content["coordinate_system"] == LONGITUDE_LATITUDE else "pixels"
            for feature in content["features"]:
                self._waiting.append(_polygon(feature, rows, column))
                if len(self._waiting) >= _AT_ONCE:
                    self._write()

    def close(self) -> int:
        """Write the rest; how many there were."""
        self._write()
        return self._count

    def _write(self) -> None:
        import pyarrow

        self._writer.write_table(pyarrow.Table.from_pylist(self._waiting, schema=self._schema))
        self._count += len(self._waiting)
        self._waiting.clear()


def _polygon(feature: Mapping[str, Any], rows: Mapping[str, Row], column: str) -> dict[str, Any]:
    about = feature["properties"]
    row = rows[about["phrase"]]
    area_m2 = about["area_m2"] if "area_m2" in about else about["area"] if about["area_unit"] == "m2" else None
    return {
        "row": row.number,
        "image": row.image.encode(errors="replace").decode(),  # names may be no Unicode
        "phrase": about["phrase"],
        "model": about["model"],
        "score": about["score"],
        "area_m2": area_m2,
        column: shapely.to_wkb(shapely.geometry.shape(feature["geometry"])),
    }


@contextmanager
def _polygon_file(path: Path) -> Iterator[_Polygons]:
    """GeoParquet 1.1."""
    import pyarrow
    import pyarrow.parquet

    about = {"encoding": "WKB", "geometry_types": ["Polygon"]}
    geo = {
        "version": "1.1.0",
        "primary_column": "geometry",
        # Without `crs` it is OGC:CRS84; null says that there is none.
        "columns": {"geometry": {**about, "orientation": "counterclockwise"}, "pixels": {**about, "crs": None}},
    }
    text, number, wkb = pyarrow.string(), pyarrow.float64(), pyarrow.binary()
    kinds = {
        "row": pyarrow.int64(),
        "image": text,
        "phrase": text,
        "model": text,
        "score": number,
        "area_m2": number,
        "geometry": wkb,
        "pixels": wkb,
    }
    schema = pyarrow.schema(list(kinds.items()), metadata={"geo": json.dumps(geo)})
    with (
        replaced_file(path) as temporary,
        pyarrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):
        yield _Polygons(writer, schema)
