"""What a stranger, a web page or a clumsy user cannot do."""

from __future__ import annotations

import asyncio
import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from refersat.errors import UserError
from refersat.service.settings import Settings
from tests.service.conftest import Serve, connect, encoded, problem

TOKEN = "correct-horse"


def upload(client: TestClient, content: bytes, name: str = "a.png") -> Any:
    return client.post("/v1/scenes", files={"file": (name, content)})


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that says it has side x side pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_without_the_token_nobody_comes_in(serve: Serve, photo: Path) -> None:
    client = serve(photo, tokens=(TOKEN,))
    for method, path in (
        ("GET", "/v1/scenes"),
        ("POST", "/v1/segment"),
        ("GET", "/jobs"),
        ("GET", "/metrics"),
        ("GET", "/v1/scenes/photo/picture.png"),
        ("GET", "/processes"),
    ):
        response = client.request(method, path)
        assert "wants its token" in problem(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"
        for wrong in ("Bearer wrong", "Bearer ", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00fc"):
            assert client.request(method, path, headers={"Authorization": wrong.encode()}).status_code == 401
        right = client.request(method, path, headers={"Authorization": f"bearer {TOKEN}"})
        assert right.status_code not in (401, 403)
    for path in ("/", "/health", "/v1/about", "/openapi.json", "/conformance"):
        assert client.get(path).status_code == 200
    assert client.get("/v1/about").json()["token_required"] is True


def test_a_page_of_another_server_cannot_call_unless_allowed(serve: Serve, photo: Path, tmp_path: Path) -> None:
    client = serve(photo, origins=("https://maps.example.org",))
    evil, friend = {"Origin": "https://evil.example"}, {"Origin": "https://maps.example.org"}
    data = {"scene": "photo", "phrases": "a"}
    assert "may not call" in problem(client.post("/v1/segment", data=data, headers=evil), 403)
    assert "access-control-allow-origin" not in client.get("/v1/scenes", headers=evil).headers
    assert client.post("/v1/segment", data=data, headers=friend).status_code == 200
    allowed = client.get("/v1/scenes", headers=friend).headers["access-control-allow-origin"]
    assert allowed == "https://maps.example.org"
    own = {"Origin": "http://127.0.0.1"}
    assert client.post("/v1/segment", data=data, headers=own).status_code == 200
    closed = serve(photo, data=tmp_path / "other")
    assert "access-control-allow-origin" not in closed.get("/v1/scenes", headers=friend).headers
    preflight = {**friend, "Access-Control-Request-Method": "DELETE"}
    assert closed.options("/jobs/x", headers=preflight).status_code != 200


def test_a_name_that_points_here_is_not_this_server(client: TestClient) -> None:
    assert "localhost" in problem(client.get("/v1/scenes", headers={"Host": "rebound.example:8000"}), 403)
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000"):
        assert client.get("/v1/scenes", headers={"Host": host}).status_code == 200


def test_every_answer_has_the_headers_that_browsers_heed(client: TestClient) -> None:
    for path in ("/", "/v1/scenes", "/nowhere", "/v1/scenes/photo/picture.png"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "worker-src 'self' blob:" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-eval" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def test_only_what_was_offered_can_be_asked_about(
    serve: Serve, tmp_path: Path, bright_square: NDArray[np.uint8]
) -> None:
    offered, outside = tmp_path / "offered", tmp_path / "outside"
    for folder in (offered / "below", outside):
        folder.mkdir(parents=True)
    content = encoded(bright_square)
    (outside / "secret.png").write_bytes(content)
    (offered / "a.png").write_bytes(content)
    (offered / "below" / "b.png").write_bytes(content)
    (offered / ".hidden.png").write_bytes(content)
    (offered / "notes.txt").write_text("no image")
    (offered / "broken.tif").write_text("no image")
    (offered / "link.png").symlink_to(outside / "secret.png")
    (offered / "inner.png").symlink_to(offered / "a.png")
    (offered / "linked").symlink_to(outside)
    (offered / "view.vrt").write_text("<VRTDataset rasterXSize='1' rasterYSize='1'/>")
    client = serve(offered)
    scenes = client.get("/v1/scenes").json()["scenes"]
    assert {scene["id"] for scene in scenes} == {"a", "below-b", "a-2"}
    assert str(tmp_path) not in client.get("/v1/scenes").text
    secret = str(outside / "secret.png")
    for name in ("../outside/secret", "..%2Foutside%2Fsecret.png", "link", "linked-secret", secret):
        assert client.get(f"/v1/scenes/{name}").status_code == 404
        data = {"scene": name, "phrases": "a"}
        problem(client.post("/v1/segment", data=data), 404)
        problem(client.post("/processes/segment/execution", json={"inputs": {"scene": name, "phrases": ["a"]}}), 404)
    for name in ("..", "../results", "%2e%2e", "..%2f..%2fservice.sqlite", "r-\u00fc"):
        assert client.get(f"/v1/results/{name}").status_code == 404
    assert client.get("/assets/../../app.py").status_code == 404


def test_a_scene_that_vanishes_or_leaves_its_folder_is_gone(
    serve: Serve, tmp_path: Path, bright_square: NDArray[np.uint8]
) -> None:
    offered = tmp_path / "offered"
    offered.mkdir()
    path = offered / "a.png"
    path.write_bytes(encoded(bright_square))
    client = serve(offered)
    assert client.get("/v1/scenes/a").status_code == 200
    elsewhere = tmp_path / "secret.png"
    elsewhere.write_bytes(encoded(bright_square))
    path.unlink()
    path.symlink_to(elsewhere)
    problem(client.get("/v1/scenes/a"), 404)


def test_an_upload_with_too_many_bytes_is_refused_as_told_or_as_counted(serve: Serve, picture: bytes) -> None:
    client = serve(limits={"upload_bytes": 2**20})
    large = picture + os.urandom(3 * 2**20)
    assert "2 MiB" in problem(upload(client, large), 413)
    boundary = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'

    def pieces() -> Any:
        yield boundary
        yield from (large[start : start + 65536] for start in range(0, len(large), 65536))
        yield b"\r\n--x--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    problem(client.post("/v1/scenes", content=pieces(), headers=headers), 413)
    assert upload(client, picture).status_code == 201
    problem(client.post("/processes/segment/execution", content=b" " * (5 * 2**20)), 413)


def test_an_image_with_too_many_pixels_is_not_decoded(serve: Serve, picture: bytes) -> None:
    client = serve(limits={"pixels": 8000})
    assert upload(client, picture).status_code == 201
    for content in (bomb(30_000), bomb(90)):
        assert "more than" in problem(upload(client, content), 413)
        response = client.post("/v1/segment", data={"phrases": "a"}, files={"image": content})
        assert "more than" in problem(response, 413)


def test_a_small_image_in_huge_blocks_is_not_decoded(
    client: TestClient, write_raster: Callable[..., Path], bright_square: NDArray[np.uint8]
) -> None:
    path = write_raster("tiled.tif", np.moveaxis(bright_square, -1, 0), tiled=True, blockxsize=4096, blockysize=4096)
    content = bytearray(path.read_bytes())
    assert upload(client, bytes(content), "a.tif").status_code == 201
    for tag in (322, 323):  # TileWidth and TileLength, as the first directory has them: 12 bytes each
        entry = content.index(struct.pack("<HH", tag, 3), 8)
        content[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, 32_768)
    assert "too large" in problem(upload(client, bytes(content), "a.tif"), 413)


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (b"", 400, "empty"),
        (b"hello", 415, "no image"),
        (b"GIF89a\1\0\1\0\0\0\0;", 415, "no image"),
        (b"<VRTDataset rasterXSize='9' rasterYSize='9'></VRTDataset>", 415, "no image"),
        (b'{"stac_version": "1.0.0", "assets": {"a": {"href": "/etc/passwd"}}}', 415, "no image"),
        (b"\xff\xd8\xff\xfe<<<VRTDataset rasterXSize='9' rasterYSize='9'></VRTDataset>", 415, "no image"),
        (b"\xff\xd8\xff\xfe<<<GDALTileIndexDataset></GDALTileIndexDataset>", 415, "no image"),
        (b"RIFF\1\1\1\1WEBPVP8 \1\1\1\1 PDS_VERSION_ID = PDS3 ^IMAGE = '/etc/passwd' " + b"x" * 64, 415, "no image"),
        (b"\x89PNG\r\n\x1a\n\0\0", 400, "damaged"),
        (b"II*\0\0\0\0\0", 400, "damaged"),
        (b"RIFF1234AVI ", 415, "no image"),
        (b"RIFF\0\0\0\0AVI ", 400, "damaged"),
    ],
)
def test_what_is_no_image_is_refused(client: TestClient, content: bytes, status: int, words: str) -> None:
    assert words in problem(upload(client, content, "a.tif"), status)
    response = client.post("/v1/segment", data={"phrases": "a"}, files={"image": content})
    assert words in problem(response, status)
    assert not [scene for scene in client.get("/v1/scenes").json()["scenes"] if scene["uploaded"]]


def test_a_cut_image_is_told_of_and_names_no_path(
    client: TestClient, write_raster: Callable[..., Path], tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (80, 100, 3), np.uint8)
    assert "cut short" in problem(upload(client, encoded(noise)[:9000]), 400)
    path = write_raster("cut.tif", np.moveaxis(noise, -1, 0), compress="deflate")
    found = upload(client, path.read_bytes()[:9000], "cut.tif").json()
    words = problem(client.post("/v1/segment", data={"scene": found["id"], "phrases": "a"}), 400)
    assert "cut.tif is damaged" in words
    assert str(tmp_path) not in words
    assert str(tmp_path) not in problem(client.get(found["picture"]), 400)


def test_a_files_name_does_not_decide_where_it_goes(client: TestClient, picture: bytes, tmp_path: Path) -> None:
    for name in ("../../evil.png", "/etc/evil.png", "..\\evil.png", "evil\r\nX: y.png", "." * 300, "\u202eevil.png"):
        scene = upload(client, picture, name).json()
        assert "/" not in scene["name"]
        found = client.post("/v1/segment", data={"scene": scene["id"], "phrases": "a", "keep": "true"}).json()
        response = client.get(found["answers"][0]["links"]["mask"])
        assert response.status_code == 200
        assert "\n" not in response.headers["content-disposition"]
    kept = [path for path in tmp_path.rglob("*evil*") if path.is_file()]
    assert kept
    assert all(path.is_relative_to(tmp_path / "data") for path in kept)


def test_nothing_is_fetched_unless_it_is_allowed(serve: Serve, no_network: None, tmp_path: Path) -> None:
    client = serve()
    for address in ("https://example.org/a.tif", "s3://bucket/a.tif", "http://169.254.169.254/"):
        words = problem(client.post("/v1/scenes/remote", json={"address": address}), 403)
        assert "--allow-remote" in words
        problem(client.post("/v1/segment", data={"scene": address, "phrases": "a"}), 404)
        asked = {"inputs": {"scene": address, "phrases": ["a"]}}
        problem(client.post("/processes/segment/execution", json=asked), 404)
    some = serve(data=tmp_path / "some", remote=("https://tiles.example.org/",))
    for address in (
        "http://tiles.example.org/a.tif",
        "https://tiles.example.org.evil.example/a.tif",
        "/vsicurl/https://tiles.example.org/a.tif",
        "https://tiles.example.org/@evil/a.tif",
        "/etc/passwd",
    ):
        problem(some.post("/v1/scenes/remote", json={"address": address}), 403)


def test_the_disks_share_is_bounded(serve: Serve, picture: bytes) -> None:
    client = serve(limits={"disk_bytes": 1})
    assert "share is full" in problem(upload(client, picture), 507)
    problem(client.post("/v1/segment", data={"phrases": "a", "keep": "true"}, files={"image": picture}), 507)
    assert client.post("/v1/segment", data={"phrases": "a"}, files={"image": picture}).status_code == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": ("short",)},
        {"tokens": ("with a space",)},
        {"origins": ("maps.example.org",)},
        {"origins": ("https://maps.example.org/",)},
        {"remote": ("/etc",)},
        {"remote": ("https://tiles.example.org",)},  # tiles.example.org.evil.example begins so, too
        {"root_path": "maps/"},
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        Settings(data=tmp_path, **wrong)


def test_two_servers_do_not_share_a_folder(client: TestClient, serve: Serve) -> None:
    with pytest.raises(UserError, match="another server uses"):
        serve()


def test_what_users_brought_is_theirs_and_goes_when_old(serve: Serve, picture: bytes) -> None:
    client = serve(tokens=("first-token", "second-token"), limits={"keep_days": 1e-9})
    first, second = ({"Authorization": f"Bearer {name}-token"} for name in ("first", "second"))
    scene = client.post("/v1/scenes", files={"file": ("a.png", picture)}, headers=first).json()
    assert [one["id"] for one in client.get("/v1/scenes", headers=first).json()["scenes"]] == [scene["id"]]
    assert client.get("/v1/scenes", headers=second).json()["scenes"] == []
    problem(client.get(scene["picture"], headers=second), 404)
    problem(client.delete(f"/v1/scenes/{scene['id']}", headers=second), 404)
    client.app.state.service.sweep()  # type: ignore[attr-defined]
    problem(client.get(scene["picture"], headers=first), 404)


def test_what_is_fetched_for_a_user_names_no_further_files(
    serve: Serve, geotiff: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "60")
    folder = tmp_path / "shelf"
    folder.mkdir()
    words = [sys.executable, str(Path(__file__).parent / "shelf.py"), str(folder)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as shelf:
        try:
            assert shelf.stdout is not None
            root = f"http://127.0.0.1:{shelf.stdout.readline().strip()}"
            band = "<VRTRasterBand dataType='Byte' band='1'><SimpleSource><SourceFilename>{}</SourceFilename>"
            document = "<VRTDataset rasterXSize='9' rasterYSize='9'>" + band
            document += "</SimpleSource></VRTRasterBand></VRTDataset>"
            (folder / "good.tif").write_bytes(geotiff.read_bytes())
            (folder / "local.tif").write_text(document.format(geotiff))
            (folder / "other.tif").write_text(document.format(f"/vsicurl/{root}/secret"))
            asset = {"href": f"{root}/secret", "type": "image/tiff"}
            (folder / "item.json").write_text(json.dumps({"assets": {"image": asset}}))
            client = serve(remote=(f"{root}/",))
            assert client.post("/v1/scenes/remote", json={"address": f"{root}/good.tif"}).status_code == 201
            for name in ("local.tif", "other.tif", "item.json", "missing.tif"):
                told = problem(client.post("/v1/scenes/remote", json={"address": f"{root}/{name}"}), 400)
                assert str(geotiff) not in told
            assert len(client.get("/v1/scenes").json()["scenes"]) == 1
        finally:
            shelf.terminate()
        asked = shelf.stdout.read().split()
    assert "/good.tif" in asked
    assert "/secret" not in asked


@pytest.mark.parametrize("pause", [0.1, 60.0])
def test_a_body_that_stalls_or_drips_is_given_up(serve: Serve, pause: float) -> None:
    client = serve(limits={"body_s": 0.5})
    headers = {b"host": b"127.0.0.1", b"content-type": b"application/json", b"content-length": b"3000000"}
    request = {"type": "http", "method": "POST", "path": "/processes/segment/execution", "query_string": b""}
    scope = {**request, "headers": list(headers.items()), "client": ("127.0.0.1", 1), "http_version": "1.1"}
    sent: list[Any] = []

    async def receive() -> Any:
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": b" ", "more_body": True}

    async def send(message: Any) -> None:
        sent.append(message)

    async def asking() -> None:
        await asyncio.wait_for(client.app({**scope, "scheme": "http"}, receive, send), 30)  # type: ignore[operator]

    asyncio.run(asking())
    assert sent[0]["status"] == 408
    assert b"did not come in time" in sent[1]["body"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"inputs": ' * 50_000,
        b'{"inputs": {"scene": "a", "phrases": ' + b"[" * 100_000,
        b'{"inputs": {"scene": "scene", "phrases": ["a"], "gsd": 1e-300}}',
        b'{"inputs": {"scene": "scene", "phrases": ["a"], "gsd": 0.001, "tile": 16, "overlap": 0.9}}',
        b'{"inputs": {"scene": "photo", "phrases": ["a"], "min_area": NaN}}',
        b'{"inputs": {"scene": "photo", "phrases": ["a\\u0000"]}}',
        b'{"inputs": {"scene": "photo", "phrases": ["\\ud800"]}}',
        b"\xff\xfe",
    ],
)
def test_bodies_that_were_made_to_break_something_are_refused(client: TestClient, body: bytes) -> None:
    quiet = connect(client.app, raise_server_exceptions=False)
    headers = {"Content-Type": "application/json"}
    problem(quiet.post("/processes/segment/execution", content=body, headers=headers), 400)


@pytest.mark.parametrize(
    "form",
    [
        {"area": "[" * 100_000},
        {"area": '{"type": "Polygon", "coordinates": ' + "[" * 100_000},
        {"area": '{"type": "Polygon", "coordinates": [[[0, 0], [1e999, 0], [1, 1], [0, 0]]]}'},
        {"threshold": "nan"},
        {"threshold": "inf"},
        {"phrases": "a" * 100_000},
        {"phrases": "a\0b"},
        {"phrases": ["a"] * 5000},
    ],
)
def test_forms_that_were_made_to_break_something_are_refused(client: TestClient, form: dict[str, Any]) -> None:
    quiet = connect(client.app, raise_server_exceptions=False)
    problem(quiet.post("/v1/segment", data={"scene": "photo", "phrases": "a", **form}), 400)


def test_a_form_of_very_many_parts_is_refused(client: TestClient, picture: bytes) -> None:
    quiet = connect(client.app, raise_server_exceptions=False)
    many = [("image", (f"{number}.png", picture)) for number in range(1500)]
    problem(quiet.post("/v1/segment", data={"phrases": "a"}, files=many), 400)
