"""Cutting a scene into tiles leaves no trace in the answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.errors import UserError
from refersat.scene.blend import FULL
from refersat.scene.options import SceneOptions
from refersat.scene.reader import SceneReader
from refersat.scene.strategy import Look
from refersat.scene.tiles import Tiles
from tests.scene.scenes import METRE, UTM, PixelModel, blobs, read

Segment = Callable[..., Any]
WriteScene = Callable[..., Path]


def answers(reader: SceneReader, using: Any, *, first: int = 0, phrases: tuple[str, ...] = ("all",), **options: Any):
    """All bands of the strategy `tile`, joined."""
    look = Look(reader, using, phrases, SceneOptions(strategy="tile", **options))
    bands = list(Tiles.tiled(look).bands(first, lambda pixels: None))
    assert [band.row for band in bands[1:]] == [band.stop for band in bands[:-1]]
    return np.concatenate([band.probability for band in bands], axis=1)


@settings(deadline=None, max_examples=40)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    tile=st.integers(16, 60),
    overlap=st.floats(0, 0.9),
    seed=st.integers(0, 99),
)
def test_tiled_is_exactly_what_untiled_is(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, tile: int, overlap: float, seed: int
) -> None:
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    values = blobs(height, width, seed=seed)
    with rasterio.open(
        path, "w", driver="GTiff", height=height, width=width, count=1, dtype="uint8", crs=UTM, transform=METRE
    ) as target:
        target.write(values, 1)
    with SceneReader(path) as reader:
        tiled = answers(reader, PixelModel(), tile=tile, overlap=overlap)
    untiled = np.rint(values.astype(np.float32) / np.float32(255) * FULL)
    np.testing.assert_array_equal(tiled[0], untiled)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 1), (3, 333), (64, 64), (65, 63)])
def test_strips_and_small_scenes(segment: Segment, write_scene: WriteScene, shape: tuple[int, int]) -> None:
    values = blobs(*shape)
    (found,) = segment(write_scene(values), tile=64)
    np.testing.assert_array_equal(read(found.mask) > 0, values > 127)


def test_what_depends_on_neighbours_differs_little_near_the_tiles_edges(write_scene: WriteScene) -> None:
    values = blobs(200, 230)
    with SceneReader(write_scene(values)) as reader:
        tiled = answers(reader, PixelModel(blur=9), tile=64, overlap=0.5)[0] / FULL
    untiled = cv2.blur(values.astype(np.float32) / 255, (9, 9), borderType=cv2.BORDER_REPLICATE)
    assert np.abs(tiled - untiled).max() < 0.02  # cut off hard at the tiles' middle edges it is 0.3


@pytest.mark.parametrize("first", [0, 1, 37, 38, 150, 199])
def test_bands_are_the_same_wherever_one_begins(write_scene: WriteScene, first: int) -> None:
    with SceneReader(write_scene(blobs(200, 150))) as reader:
        for options in ({}, {"gsd": 1.7}, {"gsd": 0.6}):
            whole = answers(reader, PixelModel(), tile=48, overlap=0.4, **options)
            np.testing.assert_array_equal(
                answers(reader, PixelModel(), first=first, tile=48, overlap=0.4, **options), whole[:, first:]
            )


@pytest.mark.parametrize("gsd", [0.5, 0.8, 1.3, 3.0])
def test_another_resolution_for_the_model_comes_back_in_place(write_scene: WriteScene, gsd: float) -> None:
    values = cv2.GaussianBlur(blobs(150, 170, grain=30), (0, 0), 6)
    using = PixelModel()
    with SceneReader(write_scene(values)) as reader:
        tiled = answers(reader, using, tile=40, overlap=0.25, gsd=gsd)[0] / FULL
    assert set(using.sizes) == {(40, 40)}
    assert len(using.sizes) >= (150 / gsd / 40) * (170 / gsd / 40)
    assert np.abs(tiled - values / 255.0).max() < 0.04
    assert np.abs(tiled - values / 255.0).mean() < 0.004


def test_a_gsd_is_only_for_scenes_with_a_place_and_not_beyond_reason(write_scene: WriteScene, segment: Segment) -> None:
    with pytest.raises(UserError, match="8 times finer"):
        segment(write_scene(blobs(20, 20)), gsd=0.1)
    with pytest.raises(UserError, match="no CRS"):
        segment(write_scene(blobs(20, 20), crs=None, transform=None), gsd=1.0)


def test_tiles_without_data_are_not_looked_at(write_scene: WriteScene, segment: Segment, model: PixelModel) -> None:
    values = blobs(160, 160)
    values[:, 64:] = 0
    values[:, :64] = np.maximum(values[:, :64], 1)
    segment(write_scene(values, nodata=0), tile=32, overlap=0.0)
    assert len(model.sizes) == 5 * 2


def test_a_tile_where_the_model_says_no_stays_empty(write_scene: WriteScene, segment: Segment) -> None:
    bright = np.full((50, 50), 255, np.uint8)
    none, everything = segment(write_scene(bright), "the unicorn", "all", tile=32, probability=True)
    assert not read(none.mask).any()
    assert not read(none.probability).any()
    assert read(everything.mask).all()
    assert (none.objects, everything.objects) == (0, 1)
    assert (none.score, everything.score) == (0.1, 0.9)


def test_whole_shows_the_model_all_at_once(write_scene: WriteScene, segment: Segment, model: PixelModel) -> None:
    values = cv2.GaussianBlur(blobs(1100, 2200, grain=99), (0, 0), 9)
    (found,) = segment(write_scene(values), strategy="whole", probability=True)
    assert model.sizes == [(512, 1024)]
    assert np.abs(read(found.probability).astype(float) - values).max() < 6


def test_whole_is_shown_at_the_resolution_asked_for(
    write_scene: WriteScene, segment: Segment, model: PixelModel
) -> None:
    path = write_scene(cv2.GaussianBlur(blobs(300, 400, grain=99), (0, 0), 9))
    for gsd, seen in ((2.0, (150, 200)), (0.5, (600, 800)), (0.2, (768, 1024))):
        (found,) = segment(path, strategy="whole", gsd=gsd)
        assert model.sizes[-1] == seen
        with rasterio.open(found.mask) as mask:
            assert float(mask.tags()["GSD"].removesuffix(" m")) == pytest.approx(400 / seen[1], rel=0.001)


def test_auto_takes_the_whole_of_small_scenes(write_scene: WriteScene, segment: Segment, model: PixelModel) -> None:
    segment(write_scene(blobs(90, 100)), strategy="auto", tile=100)
    assert model.sizes == [(90, 100)]
    segment(write_scene(blobs(90, 101)), strategy="auto", tile=100)
    assert model.sizes[1:] == [(90, 100)] * 2


def test_threshold(write_scene: WriteScene, segment: Segment) -> None:
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    for threshold in (0.0, 0.25, 1.0):
        (found,) = segment(write_scene(values), threshold=threshold)
        np.testing.assert_array_equal(read(found.mask) > 0, values > threshold * 255)
