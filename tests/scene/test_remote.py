"""Scenes behind an address: read piece by piece through GDAL, here from a server on this machine."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest

from refersat.errors import UserError
from refersat.scene.reader import SceneReader
from refersat.scene.window import Window
from tests.scene.scenes import blobs, read

WriteScene = Callable[..., Path]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Host and port that serve tmp_path."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    script = Path(__file__).with_name("file_server.py")
    with subprocess.Popen([sys.executable, script, tmp_path], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        yield f"127.0.0.1:{int(running.stdout.readline())}"
        running.terminate()


def sent(server: str) -> int:
    """How many bytes of files it has sent."""
    with urlopen(f"http://{server}/sent") as answer:
        return int(answer.read())


@pytest.fixture
def nobody() -> str:
    """Host and port where nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture(params=["http", "s3"])
def address(request: pytest.FixtureRequest, server: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes the address of a file of the server, in two ways of saying it."""
    if request.param == "http":
        return lambda name: f"http://{server}/{name}"
    use_as_s3(server, monkeypatch)
    return lambda name: f"s3://{name}"


def use_as_s3(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders of this host are buckets, open to all."""
    settings = {"NO_SIGN_REQUEST": "YES", "S3_ENDPOINT": host, "HTTPS": "NO", "VIRTUAL_HOSTING": "FALSE"}
    for name, value in settings.items():
        monkeypatch.setenv(f"AWS_{name}", value)


@pytest.fixture
def scene(write_scene: WriteScene, tmp_path: Path) -> Path:
    """bucket/scene.tif, 3 MB in blocks that say nothing of each other."""
    (tmp_path / "bucket").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (1024, 1024), dtype=np.uint8)
    return write_scene(noise, "bucket/scene.tif", tiled=True, blockxsize=128, blockysize=128)


def test_a_window_fetches_no_more_than_it_needs(scene: Path, address: Callable[[str], str], server: str) -> None:
    with SceneReader(address("bucket/scene.tif")) as remote, SceneReader(scene) as local:
        assert (remote.source.stem, remote.source.remote) == ("scene", True)
        assert (remote.width, remote.crs_wkt, remote.transform) == (1024, local.crs_wkt, local.transform)
        opened = sent(server)
        window = Window(300, 500, 60, 60)
        np.testing.assert_array_equal(remote.read(window).pixels, local.read(window).pixels)
    assert 0 < opened < scene.stat().st_size / 10
    assert 0 < sent(server) - opened < scene.stat().st_size / 10


def test_a_scene_behind_an_address_is_segmented_like_a_file(
    write_scene: WriteScene, segment: Callable[..., Any], server: str, tmp_path: Path
) -> None:
    path = write_scene(blobs(90, 120), "town.tif")
    (local,) = segment(path, tile=64)
    (remote,) = segment(f"http://{server}/town.tif?version=2", tile=64, out=tmp_path / "remote")
    assert remote.mask.name == "town-1.tif"
    np.testing.assert_array_equal(read(remote.mask), read(local.mask))


@pytest.mark.parametrize("kind", ["http", "s3"])
def test_where_nobody_answers_one_line_says_so(nobody: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    use_as_s3(nobody, monkeypatch)
    address = "s3://bucket/scene.tif" if kind == "s3" else f"http://{nobody}/scene.tif"
    with pytest.raises(UserError, match=r"cannot open .*scene\.tif: .*connect") as caught:
        SceneReader(address)
    assert "\n" not in str(caught.value)


def test_what_is_not_there_or_no_raster_is_told(server: str, tmp_path: Path) -> None:
    (tmp_path / "text.tif").write_text("no raster")
    for name in ("none.tif", "text.tif"):
        with pytest.raises(UserError, match=f"cannot open http://{server}/{name}") as caught:
            SceneReader(f"http://{server}/{name}")
        assert "\n" not in str(caught.value)
