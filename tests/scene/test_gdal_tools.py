"""What GDAL's own programs, and with them QGIS, see in the outputs."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scene.scenes import blobs

HAS_GDAL = all(shutil.which(program) for program in ("gdalinfo", "ogrinfo"))
# GDAL's programs come with no Python package; .ci/run installs them, so that nothing is skipped there.
needs_gdal = pytest.mark.skipif(not HAS_GDAL, reason="gdalinfo or ogrinfo is missing (Debian: gdal-bin)")


def run(*words: str | Path) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""  # no warning of a version or a driver
    return done.stdout


@needs_gdal
def test_gdalinfo_reads_the_rasters(segment: Callable[..., Any], write_scene: Callable[..., Path]) -> None:
    values = blobs(700, 600, grain=50)
    values[:, :50] = 0
    (found,) = segment(write_scene(values, nodata=0), "all ships", tile=256, instances=True, probability=True)
    for path in (found.mask, found.probability, found.instances):
        seen = json.loads(run("gdalinfo", "-json", path))
        assert seen["size"] == [600, 700]
        assert seen["metadata"][""]["PHRASE"] == "all ships"
        assert seen["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
        assert "31N" in seen["coordinateSystem"]["wkt"]
        assert seen["geoTransform"] == [500000.0, 1.0, 0.0, 5700000.0, 0.0, -1.0]
        assert seen["bands"][0]["mask"]["flags"] == ["PER_DATASET"]
        assert seen["bands"][0]["overviews"]


@needs_gdal
@pytest.mark.parametrize("kind", ["gpkg", "geojson", "fgb"])
def test_ogrinfo_reads_the_polygons(segment: Callable[..., Any], write_scene: Callable[..., Path], kind: str) -> None:
    (found,) = segment(write_scene(blobs(70, 90, grain=20)), "all ships", format=kind)
    seen = run("ogrinfo", "-so", "-al", found.vectors)
    assert f"Feature Count: {found.objects}" in seen
    assert "Geometry: Polygon" in seen
    assert "Layer name: scene" in seen
    for line in ("phrase: String", "score: Real", "area_m2: Real", "instance: Integer"):
        assert line in seen
    shape = "geom" if kind == "gpkg" else "geometry"
    question = f"SELECT COUNT(*) AS n FROM scene WHERE NOT ST_IsValid({shape})"
    assert "n (Integer) = 0" in run("ogrinfo", "-q", "-dialect", "sqlite", "-sql", question, found.vectors)
