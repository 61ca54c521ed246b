"""A disk that fills up: one line says so, nothing looks finished that is not, and the run goes on from there."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from refersat.errors import UserError
from refersat.scene.parts import Parts
from refersat.scene.window import Window

Segment = Callable[..., Any]
WriteScene = Callable[..., Path]


@contextmanager
def no_file_above(size: int) -> Iterator[None]:
    """Writing further fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def squares(side: int) -> np.ndarray[Any, Any]:
    """Bright squares in rows and columns: much to outline, and little to store as a raster."""
    values = np.zeros((side, side), np.uint8)
    for row in range(2, side - 6, 8):
        for column in range(2, side - 6, 8):
            values[row : row + 5, column : column + 5] = 255
    return values


def test_a_piece_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    parts = Parts(tmp_path, Window(0, 0, 600, 256))
    noise = np.random.default_rng(0).integers(0, 256, (256, 600), dtype=np.uint8)
    for size in (0, 1000, 100_000):
        with no_file_above(size), pytest.raises(UserError, match=r"cannot write .*rows-000000000-000000256\.tif"):
            parts.write_piece("rows", 0, [noise])
    assert list(tmp_path.iterdir()) == []


def test_a_raster_too_large_for_the_disk(segment: Segment, write_scene: WriteScene, tmp_path: Path) -> None:
    path = write_scene(np.random.default_rng(0).integers(0, 256, (1500, 600), dtype=np.uint8))
    options = {"tile": 600, "threshold": 1.0, "probability": True}
    with no_file_above(500_000), pytest.raises(UserError, match=r"cannot write .*scene-1\.probability\.tif.*disk full"):
        segment(path, **options)
    assert [file.name for file in (tmp_path / "out").glob("*.tif")] == []
    (found,) = segment(path, resume=True, **options)
    with rasterio.open(found.probability) as dataset, rasterio.open(path) as scene:
        np.testing.assert_array_equal(dataset.read(1), scene.read(1))


@pytest.mark.parametrize(
    ("kind", "size"), [("gpkg", 60_000), ("gpkg", 200_000), ("geojson", 60_000), ("fgb", 200_000), ("parquet", 10_000)]
)
def test_polygons_too_many_for_the_disk(
    segment: Segment, write_scene: WriteScene, tmp_path: Path, kind: str, size: int
) -> None:
    path = write_scene(squares(320))
    with no_file_above(size), pytest.raises(UserError, match=rf"cannot write .*scene\.{kind}"):
        segment(path, tile=320, format=kind)
    assert not (tmp_path / "out" / f"scene.{kind}").exists()
    (found,) = segment(path, tile=320, format=kind, resume=True)
    assert found.objects == 39 * 39
