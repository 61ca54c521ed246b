"""What a raster says about itself, also where many are opened at once."""

from __future__ import annotations

import threading
import warnings
from pathlib import Path
from typing import Any

import pytest
import rasterio
from rasterio.errors import NotGeoreferencedWarning

from refersat.rasters import open_raster


def test_another_threads_raster_without_a_place_does_not_take_this_ones(
    geotiff: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rasterio.open

    def open_with_company(address: Any) -> Any:
        other = threading.Thread(target=warnings.warn, args=("no place", NotGeoreferencedWarning))
        other.start()
        other.join()
        return whole(address)

    monkeypatch.setattr(rasterio, "open", open_with_company)
    dataset, placed = open_raster(str(geotiff))
    with dataset:
        assert placed


def test_a_raster_without_a_place_is_known(tmp_path: Path, write_raster: Any, bright_square: Any) -> None:
    path = write_raster("plain.tif", bright_square.transpose(2, 0, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # and nobody is bothered with it
        dataset, placed = open_raster(str(path))
    with dataset:
        assert not placed
