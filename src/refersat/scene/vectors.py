"""Features to a file, a few thousand at a time: GeoPackage, GeoJSON, FlatGeobuf or GeoParquet."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import affine
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from refersat.errors import UserError
from refersat.output import replaced_file
from refersat.scene.features import FIELDS, Feature, in_crs
from refersat.vector import Ground

_BATCH = 4096
_GEOPACKAGE = "1.2"  # GDAL's own choice is so new that the GDAL of Debian 12, and QGIS with it, warns of it
_DTYPES = (object, object, np.float64, np.float64, np.int64, object, object)  # of `FIELDS`


@dataclass(frozen=True)
class Target:
    """What a file of features is told besides them.

    Attributes:
        layer: name of its layer.
        crs_wkt: None where the scene has none.
        transform: from pixels to the CRS.
        ground: of the scene, for formats in longitude and latitude.
        tags: the run's.
        within: a folder for the unfinished file, of the same file system.
    """

    layer: str
    crs_wkt: str | None
    transform: affine.Affine
    ground: Ground
    tags: Mapping[str, str]
    within: Path | None = None


Add: TypeAlias = Callable[[Iterable[Feature]], None]


def feature_file(path: Path, kind: str, target: Target) -> AbstractContextManager[Add]:
    """A new file of features, there when the block ends well; what the block gets adds to it.

    Args:
        path: where.
        kind: one of `refersat.scene.options.FORMATS`.
        target: what it is told.

    Raises:
        UserError: it cannot be written, or the library for it is not installed.
    """
    return {"gpkg": _geopackage, "fgb": _flatgeobuf, "geojson": _geojson, "parquet": _parquet}[kind](path, target)


def require_library(kind: str) -> None:
    """Refuse a format whose library is missing before any work is done.

    Raises:
        UserError: says how to get it.
    """
    from importlib.util import find_spec

    if kind == "parquet" and find_spec("pyarrow") is None:
        raise UserError("--format parquet needs pyarrow: pip install 'refersat[parquet]'")


@contextmanager
def _geopackage(path: Path, target: Target) -> Iterator[Add]:
    with _told(path), replaced_file(path, within=target.within) as temporary:
        yield _begin_geopackage(temporary, target)


def _begin_geopackage(path: Path, target: Target) -> Add:
    import pyogrio.raw

    def write(features: Iterable[Feature], *, append: bool) -> None:
        geometry, columns = _columns(features, target.transform)
        with _no_crs_is_fine():
            pyogrio.raw.write(
                path,
                geometry,
                columns,
                list(FIELDS),
                driver="GPKG",
                layer=target.layer,
                geometry_type="Polygon",
                crs=target.crs_wkt,
                layer_metadata=dict(target.tags),
                append=append,
                dataset_options=None if append else {"VERSION": _GEOPACKAGE},
            )

    def add(features: Iterable[Feature]) -> None:
        for some in _batches(features, _BATCH):
            write(some, append=True)

    path.unlink(missing_ok=True)  # of a process with our number that was killed
    write((), append=False)
    return add


@contextmanager
def _flatgeobuf(path: Path, target: Target) -> Iterator[Add]:
    """By way of a GeoPackage: the format is written in one go, from a stream."""
    import pyogrio.raw

    spool = (target.within or path.parent) / f".{path.stem}.spool.gpkg"
    try:
        with _told(path), replaced_file(path, within=target.within) as temporary:
            yield _begin_geopackage(spool, target)
            with (
                _no_crs_is_fine(),
                pyogrio.raw.open_arrow(spool, use_pyarrow=False, batch_size=_BATCH) as (about, stream),
            ):
                pyogrio.raw.write_arrow(
                    stream,
                    temporary,
                    driver="FlatGeobuf",
                    layer=target.layer,
                    geometry_name=about["geometry_name"] or "wkb_geometry",
                    geometry_type="Polygon",
                    crs=target.crs_wkt,
                    layer_metadata=dict(target.tags),
                )
    finally:
        spool.unlink(missing_ok=True)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """GDAL's errors of writing, in words: it names no full disk."""
    from pyogrio.errors import DataLayerError, DataSourceError

    try:
        yield
    except (DataSourceError, DataLayerError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"cannot write {path}: {reason} (is the disk full?)") from error


@contextmanager
def _no_crs_is_fine() -> Iterator[None]:
    """Without pyogrio's warning: the user was told about the scene."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="'crs' was not provided", category=UserWarning)
        yield


@contextmanager
def _geojson(path: Path, target: Target) -> Iterator[Add]:
    """RFC 7946: longitude and latitude, or pixels where the scene has no place on the ground."""
    about = {
        "coordinate_system": target.ground.coordinate_system,
        "area_method": target.ground.area_method,
        "run": dict(target.tags),
    }
    with replaced_file(path, within=target.within) as temporary, temporary.open("w", encoding="utf-8") as stream:
        head = json.dumps({"type": "FeatureCollection", "name": target.layer, **about}, ensure_ascii=False)
        stream.write(head.removesuffix("}") + ', "features": [')
        separator = "\n"

        def add(features: Iterable[Feature]) -> None:
            nonlocal separator
            for feature in features:
                placed = {
                    "type": "Feature",
                    "properties": {name: getattr(feature, name) for name in FIELDS},
                    "geometry": shapely.geometry.mapping(target.ground.place(feature.outline)),
                }
                stream.write(separator + json.dumps(placed, ensure_ascii=False))
                separator = ",\n"

        yield add
        stream.write("\n]}\n")


@contextmanager
def _parquet(path: Path, target: Target) -> Iterator[Add]:
    """GeoParquet 1.1."""
    import pyarrow
    import pyarrow.parquet

    column: dict[str, Any] = {"encoding": "WKB", "geometry_types": ["Polygon"], "orientation": "counterclockwise"}
    column["crs"] = None if target.crs_wkt is None else pyproj.CRS.from_wkt(target.crs_wkt).to_json_dict()
    geo = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}
    types = {object: pyarrow.string(), np.float64: pyarrow.float64(), np.int64: pyarrow.int64()}
    fields = [pyarrow.field(name, types[kind]) for name, kind in zip(FIELDS, _DTYPES, strict=True)]
    schema = pyarrow.schema(
        [*fields, pyarrow.field("geometry", pyarrow.binary())],
        metadata={"geo": json.dumps(geo), **target.tags},
    )
    with (
        replaced_file(path, within=target.within) as temporary,
        pyarrow.parquet.ParquetWriter(temporary, schema, compression="zstd") as writer,
    ):

        def add(features: Iterable[Feature]) -> None:
            for some in _batches(features, _BATCH):
                geometry, columns = _columns(some, target.transform)
                columns.append(geometry)
                arrays = [
                    pyarrow.array(values, one.type, from_pandas=True)
                    for values, one in zip(columns, schema, strict=True)
                ]
                writer.write_table(pyarrow.table(arrays, schema=schema))

        yield add


def _columns(features: Iterable[Feature], transform: affine.Affine) -> tuple[NDArray[Any], list[NDArray[Any]]]:
    """Outlines in the CRS as WKB (N,), and the values (N,) of each of `FIELDS`; what is not known is NaN."""
    features = list(features)
    outlines = np.empty(len(features), dtype=object)
    outlines[:] = [in_crs(feature.outline, transform) for feature in features]
    columns = [
        np.array([np.nan if (value := getattr(feature, name)) is None else value for feature in features], dtype=kind)
        for name, kind in zip(FIELDS, _DTYPES, strict=True)
    ]
    return np.asarray(shapely.to_wkb(outlines), dtype=object), columns


def _batches(features: Iterable[Feature], size: int) -> Iterator[list[Feature]]:
    rest = iter(features)
    while some := list(islice(rest, size)):
        yield some
