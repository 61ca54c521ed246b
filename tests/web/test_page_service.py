"""The page before the real service with the model in the package: upload, phrase, mask, slider, download, job."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import rasterio

import refersat
from tests.web.looking import MAGENTA, ask, eventually, map_picture, row, slide

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that answers small images at once; `cars.tif` is too large for that, and becomes a job."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs the service: pip install 'refersat[serve]'")
    from refersat.service.app import create_app
    from refersat.service.settings import Limits, Settings

    settings = Settings(
        scenes=(str(EXAMPLES),), data=tmp_path_factory.mktemp("data"), limits=Limits(segment_pixels=200_000)
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        app = create_app(settings, refersat.load("built-in", device="cpu"))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(30)


def reddened(before: NDArray[np.int16], after: NDArray[np.int16]) -> int:
    """Pixels of the map that moved towards the mask's colour."""
    nearer = np.abs(before - MAGENTA).sum(axis=2) - np.abs(after - MAGENTA).sum(axis=2)
    return int((nearer > 60).sum())


def test_an_uploaded_photo_is_answered_and_its_polygons_taken_away(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("Image file").set_input_files(EXAMPLES / "ships.jpg")
    page.locator("#phrase").wait_for()
    before = eventually(lambda: map_picture(page), lambda picture: picture.std() > 20)
    ask(page, "all ships; the tennis court")
    page.get_by_role("rowheader", name="all ships").wait_for()
    assert "Nothing found" in row(page, "the tennis court")
    large = eventually(lambda: reddened(before, map_picture(page)), lambda pixels: pixels > 1_000)
    slide(page, "threshold", 0.9)
    eventually(lambda: reddened(before, map_picture(page)), lambda pixels: 0 < pixels < 0.9 * large)
    eventually(lambda: row(page, "all ships"), lambda text: "≈" not in text and "…" not in text)

    page.get_by_role("button", name="all ships", exact=True).click()
    with page.expect_download() as taken:
        page.get_by_role("link", name="GeoJSON").click()
    polygons = json.loads(Path(taken.value.path()).read_text(encoding="utf-8"))
    assert {feature["properties"]["phrase"] for feature in polygons["features"]} == {"all ships"}
    assert f"{len(polygons['features'])}" in row(page, "all ships")


def test_a_scene_is_a_job_with_tiles_and_a_georeferenced_download(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="cars.tif").click()
    page.locator("#phrase").wait_for()
    before = eventually(lambda: map_picture(page), lambda picture: picture.std() > 20)
    ask(page, "all vehicles")
    page.get_by_role("progressbar", name="Progress: all vehicles").wait_for()
    page.get_by_role("rowheader", name="all vehicles").wait_for()
    assert "m²" in row(page, "all vehicles")
    large = eventually(lambda: reddened(before, map_picture(page)), lambda pixels: pixels > 1_000)
    slide(page, "threshold", 0.9)
    eventually(lambda: reddened(before, map_picture(page)), lambda pixels: 0 < pixels < 0.9 * large)

    page.get_by_role("button", name="all vehicles", exact=True).click()
    with page.expect_download() as taken:
        page.get_by_role("link", name="GeoTIFF").click()
    with rasterio.open(taken.value.path()) as mask, rasterio.open(EXAMPLES / "cars.tif") as scene:
        assert (mask.crs, mask.shape, mask.transform) == (scene.crs, scene.shape, scene.transform)
        assert set(np.unique(mask.read(1))) == {0, 255}


def test_a_broken_upload_is_refused_in_words(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("Image file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    eventually(lambda: page.get_by_role("alert").inner_text(), lambda text: len(text) > 10)
    assert page.get_by_role("heading", name="Choose an image").is_visible()
