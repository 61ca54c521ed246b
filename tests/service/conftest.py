"""A server in this process, around a model that finds bright pixels."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from refersat.segmenter import Segmenter
from refersat.service.app import create_app
from refersat.service.settings import Limits, Settings

Serve = Callable[..., TestClient]


@pytest.fixture
def serve(tmp_path: Path, make_segmenter: Callable[..., Segmenter]) -> Iterator[Serve]:
    """Starts a server; scenes, settings and limits as in `Settings` and `Limits`."""
    with ExitStack() as running:

        def start(
            *scenes: Path | str, limits: dict[str, Any] | None = None, segmenter: Any = None, **settings: Any
        ) -> TestClient:
            settings = {"data": tmp_path / "data", "limits": Limits(**(limits or {})), **settings}
            app = create_app(Settings(scenes=tuple(map(str, scenes)), **settings), segmenter or make_segmenter())
            return running.enter_context(TestClient(app, base_url="http://127.0.0.1"))

        yield start


@pytest.fixture
def client(serve: Serve, geotiff: Path, photo: Path) -> TestClient:
    """A server that was started with a GeoTIFF and a plain image."""
    return serve(geotiff, photo)


@pytest.fixture
def photo(tmp_path: Path, bright_square: NDArray[np.uint8]) -> Path:
    """The bright square as a PNG."""
    path = tmp_path / "photo.png"
    PIL.Image.fromarray(bright_square).save(path)
    return path


@pytest.fixture
def picture(bright_square: NDArray[np.uint8]) -> bytes:
    """The bright square as the bytes of a PNG."""
    return encoded(bright_square)


def encoded(rgb: NDArray[np.uint8], kind: str = "PNG") -> bytes:
    stream = BytesIO()
    PIL.Image.fromarray(rgb).save(stream, kind)
    return stream.getvalue()


def decoded(content: bytes) -> NDArray[np.uint8]:
    return np.asarray(PIL.Image.open(BytesIO(content)))


def wait_for(condition: Callable[[], Any], seconds: float = 30.0) -> Any:
    """What a condition gives as soon as it holds."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


def ended(client: TestClient, job: str) -> dict[str, Any]:
    """A job's status once it has ended."""

    def status() -> Any:
        found = client.get(f"/jobs/{job}").json()
        return found if found["status"] in ("successful", "failed", "dismissed") else None

    return wait_for(status)


def problem(response: Any, status: int) -> str:
    """The words of an answer that must be an error of that status, in the one shape."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["status"] == status
    return document["detail"]
