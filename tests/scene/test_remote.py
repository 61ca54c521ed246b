"""Scenes behind an address: read piece by piece through GDAL, here from a server on this machine."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import numpy as np
import pytest

from refersat.errors import UserError
from refersat.scene.reader import SceneReader
from refersat.scene.window import Window
from tests.scene.scenes import blobs, read

WriteScene = Callable[..., Path]


class Files(BaseHTTPRequestHandler):
    """Serves a folder, whole or in ranges, and counts the bytes."""

    folder: ClassVar[Path]
    sent: ClassVar[int] = 0

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.folder / self.path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        first, stop = 0, len(content)
        if asked:
            first, stop = int(asked[1]), min(int(asked[2] or stop) + 1, stop)
        self.send_response(206 if asked else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - first))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{stop - 1}/{len(content)}")
        self.end_headers()
        if body:
            type(self).sent += stop - first
            self.wfile.write(content[first:stop])

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Host and port that serve tmp_path."""
    Files.folder, Files.sent = tmp_path, 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Files) as running:
        thread = Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


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


def test_a_window_fetches_no_more_than_it_needs(scene: Path, address: Callable[[str], str]) -> None:
    with SceneReader(address("bucket/scene.tif"), stretch=(0.0, 255.0)) as remote, SceneReader(scene) as local:
        assert (remote.source.stem, remote.source.remote) == ("scene", True)
        assert (remote.width, remote.crs_wkt, remote.transform) == (1024, local.crs_wkt, local.transform)
        opened = Files.sent
        window = Window(300, 500, 60, 60)
        np.testing.assert_array_equal(remote.read(window).pixels, local.read(window).pixels)
    assert 0 < Files.sent - opened < scene.stat().st_size / 10


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
