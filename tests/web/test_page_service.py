"""The page before the real service with the model in the package: upload, phrase, mask, slider, download, job."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image
import pyogrio
import pytest
import rasterio
from affine import Affine

import refersat
from tests.web.looking import MAGENTA, ask, eventually, map_picture, row, settled_map, slide

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Page

pytestmark = [pytest.mark.slow, pytest.mark.browser]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `wide.tif`: 16 bits, UTM, and so large that nobody waits for its end."""
    folder = tmp_path_factory.mktemp("scenes")
    with rasterio.open(EXAMPLES / "cars.tif") as cars:
        values = np.tile(cars.read().astype(np.uint16) * 40, (1, 6, 6))
    shape = {"width": values.shape[2], "height": values.shape[1], "count": 3, "dtype": "uint16"}
    place = {"crs": "EPSG:32651", "transform": Affine(0.1, 0, 282_000, 0, -0.1, 1_615_000)}
    with rasterio.open(folder / "wide.tif", "w", driver="GTiff", tiled=True, **shape, **place) as wide:
        wide.write(values)
        wide.build_overviews([4, 16])
    return folder


@pytest.fixture(scope="module")
def address(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that answers small images at once; `cars.tif` is too large for that, and becomes a job."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs the service: pip install 'refersat[serve]'")
    from refersat.service.app import create_app
    from refersat.service.settings import Limits, Settings

    settings = Settings(
        scenes=(str(EXAMPLES), str(scenes)), data=tmp_path_factory.mktemp("data"), limits=Limits(segment_pixels=200_000)
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
    before = settled_map(page)
    ask(page, "all ships; the tennis court")
    page.get_by_role("rowheader", name="all ships").wait_for()
    assert "Nothing found" in row(page, "the tennis court")
    large = eventually(page, lambda: reddened(before, map_picture(page)), lambda pixels: pixels > 1_000)
    slide(page, "threshold", 0.9)
    eventually(page, lambda: reddened(before, map_picture(page)), lambda pixels: 0 < pixels < 0.9 * large)
    eventually(page, lambda: row(page, "all ships"), lambda text: "≈" not in text and "…" not in text)

    page.get_by_role("button", name="all ships", exact=True).click()
    with page.expect_download() as taken:
        page.get_by_role("link", name="GeoJSON").click()
    polygons = json.loads(Path(taken.value.path()).read_text(encoding="utf-8"))
    assert {feature["properties"]["phrase"] for feature in polygons["features"]} == {"all ships"}
    assert f"{len(polygons['features'])}" in row(page, "all ships")
    with page.expect_download() as taken:
        page.get_by_role("link", name="PNG").click()
    with PIL.Image.open(taken.value.path()) as overlay:
        assert overlay.width >= 320


def test_a_scene_is_a_job_with_tiles_and_a_georeferenced_download(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="cars.tif").click()
    page.locator("#phrase").wait_for()
    before = settled_map(page)
    ask(page, "all vehicles")
    page.get_by_role("progressbar", name="Progress: all vehicles").wait_for()
    page.get_by_role("rowheader", name="all vehicles").wait_for()
    assert "m²" in row(page, "all vehicles")
    large = eventually(page, lambda: reddened(before, map_picture(page)), lambda pixels: pixels > 1_000)
    slide(page, "threshold", 0.9)
    eventually(page, lambda: reddened(before, map_picture(page)), lambda pixels: 0 < pixels < 0.9 * large)

    page.get_by_role("button", name="all vehicles", exact=True).click()
    with page.expect_download() as taken:
        page.get_by_role("link", name="GeoTIFF").click()
    with rasterio.open(taken.value.path()) as mask, rasterio.open(EXAMPLES / "cars.tif") as scene:
        assert (mask.crs, mask.shape, mask.transform) == (scene.crs, scene.shape, scene.transform)
        assert set(np.unique(mask.read(1))) == {0, 255}
    with page.expect_download() as taken:
        page.get_by_role("link", name="GeoPackage").click()
    about = pyogrio.read_info(taken.value.path())
    assert about["features"] > 1
    assert "phrase" in about["fields"]


def test_only_the_view_is_looked_at_when_one_wants_that(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="ships.jpg").first.click()  # it may have been brought, too
    page.locator("#phrase").wait_for()
    settled_map(page)
    for _ in range(2):
        page.get_by_role("button", name="Zoom in").click()
    page.get_by_role("button", name="Look in this view").click()
    page.get_by_text("Looks only in the marked area.").wait_for()
    with page.expect_response("**/v1/segment") as answered:
        ask(page, "all ships")
    ring = answered.value.json()["area"]["coordinates"][0]
    assert max(x for x, _ in ring) - min(x for x, _ in ring) < 320


def test_a_job_on_a_large_scene_shows_its_progress_and_is_cancelled(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="wide.tif").click()
    page.get_by_text("3 bands, uint16").wait_for()
    settled_map(page)
    with page.expect_response("**/execution") as accepted:
        ask(page, "all vehicles")
    job = f"{address}/jobs/{accepted.value.json()['jobID']}"
    bar = page.get_by_role("progressbar", name="Progress: all vehicles")
    eventually(page, lambda: bar.get_attribute("value"), lambda percent: percent is not None and int(percent) > 0)
    assert page.request.get(job).json()["status"] == "running"
    page.get_by_role("button", name="Cancel: all vehicles").click()
    eventually(page, lambda: page.request.get(job).json()["status"], lambda status: status == "dismissed")
    eventually(page, bar.count, lambda count: count == 0)  # the page asks for it now and then
    assert page.request.get(f"{job}/results").status == 410


def test_a_scene_that_is_gone_is_told_of(page: Page, address: str, scenes: Path) -> None:
    page.goto(address)
    page.get_by_role("button", name="wide.tif").click()
    page.locator("#phrase").wait_for()
    (scenes / "wide.tif").unlink()
    ask(page, "all vehicles")
    eventually(page, lambda: page.get_by_role("alert").inner_text(), lambda text: "wide" in text)
    assert page.get_by_role("progressbar").count() == 0


def test_a_broken_upload_is_refused_in_words(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("Image file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": b"no image"})
    eventually(page, lambda: page.get_by_role("alert").inner_text(), lambda text: len(text) > 10)
    assert page.get_by_role("heading", name="Choose an image").is_visible()
