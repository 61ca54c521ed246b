"""The client class against a server in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

import refersat
from refersat.errors import UserError
from tests.service.conftest import Serve


@pytest.fixture
def connected(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> refersat.Client:
    """A client whose requests go to the server in this process."""
    monkeypatch.setattr("refersat.client._connection", lambda *_: client)
    monkeypatch.setattr("refersat.client._POLL", 0.05)
    return refersat.Client()


def test_an_image_is_answered_as_by_a_segmenter(
    connected: refersat.Client, photo: Path, bright_square: NDArray[np.uint8]
) -> None:
    for image in (photo, str(photo), bright_square, PIL.Image.fromarray(bright_square)):
        square, unicorn = connected.segment(image, ["the square", "the unicorn"])
        np.testing.assert_array_equal(square.mask, bright_square[..., 0] > 127)
        assert square.probability.dtype == np.float32
        assert square.probability.max() <= 1.0
        assert (square.present, unicorn.present) == (True, False)
        assert (square.area, square.area_unit) == (900.0, "px")
        assert len(square.polygons["features"]) == 1
    (everything,) = connected.segment(photo, ["the square"], threshold=0.0)
    assert everything.mask.all()


def test_a_scene_is_run_as_a_job_and_its_files_fetched(connected: refersat.Client, tmp_path: Path) -> None:
    assert {scene["id"] for scene in connected.scenes()} == {"photo", "scene"}
    lines: list[str] = []
    found = connected.run("scene", ["the square"], watch=lines.append, strategy="tile", tile=64)
    assert found["answers"][0]["objects"] == 1
    path = connected.download(found["links"]["geojson"], tmp_path / "found.geojson", threshold=0.4)
    assert len(json.loads(path.read_bytes())["features"]) == 1
    assert connected.dismiss(found["id"])["status"] == "dismissed"


def test_an_upload_becomes_a_scene(connected: refersat.Client, photo: Path) -> None:
    scene = connected.upload(photo)
    assert scene["uploaded"]
    assert connected.about()["model"] == "fake"


def test_a_refusal_is_told_in_the_servers_words(connected: refersat.Client, photo: Path) -> None:
    with pytest.raises(UserError, match="there is no scene 'nowhere'"):
        connected.submit("nowhere", ["a"])
    with pytest.raises(UserError, match="the phrase is empty"):
        connected.segment(photo, [" "])
    with pytest.raises(UserError, match="takes a list"):
        connected.segment(photo, "the square")
    with pytest.raises(UserError, match=r"job j-\w+ failed: .*square metres"):
        connected.run("photo", ["a"], min_area=4)


def test_a_full_queue_is_asked_again(serve: Serve, photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(photo)
    waited: list[float] = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        server.app.state.service.worker._held.clear()  # type: ignore[attr-defined]

    monkeypatch.setattr("refersat.client._connection", lambda *_: server)
    monkeypatch.setattr("refersat.client.time.sleep", wait)
    server.app.state.service.worker._held["somebody"] = 1000  # type: ignore[attr-defined]
    with refersat.Client(timeout=1e6) as client:
        assert client.segment(photo, ["a"])[0].present
    assert waited == [500.0]


def test_a_server_that_is_not_there_is_told_of() -> None:
    client = refersat.Client("http://127.0.0.1:9", timeout=5)
    with client, pytest.raises(UserError, match="is `refersat serve` running"):
        client.about()


def test_the_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REFERSAT_TOKEN", "from-the-environment")
    sent: list[Any] = [refersat.Client()._http.headers, refersat.Client(token="given")._http.headers]
    assert [one["Authorization"] for one in sent] == ["Bearer from-the-environment", "Bearer given"]
