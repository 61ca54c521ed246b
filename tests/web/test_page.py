"""The page in a browser, before a stand-in for the service that answers at once and as the test wants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.web.looking import CYAN, MAGENTA, ask, eventually, map_picture, row, slide, tinted
from tests.web.stand_in import ADDRESS, HEIGHT, WIDTH, area_at

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.web.stand_in import StandIn

pytestmark = [pytest.mark.slow, pytest.mark.browser]
AXE = Path(__file__).resolve().parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


def open_scene(page: Page, name: str = "ships.jpg") -> None:
    page.goto(ADDRESS)
    page.get_by_role("button", name=name).click()
    page.locator("#phrase").wait_for()


def test_a_phrase_gives_a_mask_whose_area_follows_the_slider(page: Page, stand_in: StandIn) -> None:
    open_scene(page)
    assert tinted(page, MAGENTA) == 0
    ask(page, "the hill")
    large = eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels > 10_000)
    assert f"{area_at(0.5):,} px" in row(page, "the hill")

    segmented = stand_in.asked.count("POST /v1/segment")
    slide(page, "threshold", 0.8)
    small = eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels < 0.4 * large)
    assert small / large == pytest.approx(area_at(0.8) / area_at(0.5), rel=0.25)  # outlines come on top
    eventually(page, lambda: row(page, "the hill"), lambda text: f"{area_at(0.8):,} px" in text and "≈" not in text)
    assert stand_in.asked.count("POST /v1/segment") == segmented == 1

    slide(page, "opacity", 0)
    eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels == 0)


def test_phrases_are_layers_with_colours_of_their_own(page: Page, stand_in: StandIn) -> None:
    open_scene(page)
    ask(page, "the hill; the top")
    page.get_by_role("rowheader", name="the top").wait_for()
    slide(page, "opacity", 100)  # the one above hides the one below
    eventually(page, lambda: tinted(page, CYAN), lambda pixels: pixels > 10_000)
    page.get_by_role("button", name="Show the top").click()
    eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels > 10_000)
    assert tinted(page, CYAN) == 0
    page.get_by_role("button", name="Remove the hill").click()
    eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels == 0)
    assert page.locator("tbody tr").count() == 1


def test_nothing_found_is_said(page: Page, stand_in: StandIn) -> None:
    open_scene(page)
    ask(page, "a unicorn")
    page.get_by_role("alert").get_by_text("Nothing found for “a unicorn”.").wait_for()
    assert "Nothing found" in row(page, "a unicorn")
    assert "0.02" in row(page, "a unicorn")
    assert page.get_by_role("status").inner_text() == "a unicorn: nothing found."
    assert tinted(page, MAGENTA) == 0
    assert page.locator("#threshold").count() == 0  # nothing to cut


def test_answers_and_history_survive_a_reload(page: Page, stand_in: StandIn) -> None:
    open_scene(page)
    ask(page, "the hill")
    page.get_by_role("rowheader", name="the hill").wait_for()
    page.reload()
    page.get_by_role("rowheader", name="the hill").wait_for()
    assert page.get_by_role("heading", name="ships.jpg").is_visible()
    page.locator("#phrase").click()
    page.get_by_role("option", name="the hill").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    eventually(page, lambda: stand_in.asked.count("POST /v1/segment"), lambda times: times == 2)


def test_a_row_zooms_and_offers_downloads_as_the_slider_stands(page: Page, stand_in: StandIn) -> None:
    open_scene(page)
    ask(page, "the hill")
    before = eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels > 10_000)
    page.get_by_role("button", name="the hill", exact=True).click()
    eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels > 1.3 * before)
    slide(page, "threshold", 0.8)
    kinds = {"GeoJSON": "polygons.geojson", "GeoPackage": "polygons.gpkg", "GeoTIFF": "mask.tif", "PNG": "overlay.png"}
    for title, name in kinds.items():
        with (
            page.expect_download() as taken
        ):  # the browser's own, which asks past the stand-in: only its address counts
            page.get_by_role("link", name=title).click()
        assert taken.value.url.endswith(f"/{name}?threshold=0.8")


def test_a_job_shows_its_progress_and_then_its_mask(page: Page, stand_in: StandIn) -> None:
    stand_in.steps = [("running", 30), ("running", 30), ("running", 70), ("successful", 100)]
    open_scene(page, "harbour.tif")
    ask(page, "the hill")
    page.get_by_text("looking: 30 of 100 steps · 30 %").wait_for()
    assert page.get_by_role("progressbar", name="Progress: the hill").get_attribute("value") == "30"
    eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels > 10_000)
    assert "m²" in row(page, "the hill")
    eventually(page, lambda: page.get_by_role("progressbar").count() == 0)
    slide(page, "threshold", 0.9)  # the tiles have 200 everywhere
    eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels < 10_000)


def test_a_job_can_be_cancelled(page: Page, stand_in: StandIn) -> None:
    stand_in.steps = [("running", 30)]
    open_scene(page, "harbour.tif")
    ask(page, "the hill")
    page.get_by_text("· 30 %").wait_for()
    page.get_by_role("button", name="Cancel: the hill").click()
    eventually(page, lambda: "DELETE /jobs/j-1" in stand_in.asked)
    eventually(page, lambda: page.get_by_role("progressbar").count() == 0)
    assert page.get_by_role("status").inner_text() == "the hill: cancelled."
    assert page.get_by_role("alert").inner_text() == ""


def test_a_running_job_survives_a_reload(page: Page, stand_in: StandIn) -> None:
    stand_in.steps = [("running", 30)]
    open_scene(page, "harbour.tif")
    ask(page, "the hill")
    page.get_by_text("· 30 %").wait_for()
    page.reload()
    page.get_by_text("· 30 %").wait_for()
    stand_in.jobs["j-1"]["steps"][:] = [("successful", 100)]
    page.get_by_role("rowheader", name="the hill").wait_for()
    assert "DELETE /jobs/j-1" not in stand_in.asked


def test_a_question_that_takes_long_can_be_cancelled(page: Page, stand_in: StandIn) -> None:
    stand_in.held = True
    open_scene(page)
    ask(page, "the hill")
    page.get_by_role("button", name="Cancel: the hill").click()
    eventually(page, lambda: page.get_by_role("progressbar").count(), lambda count: count == 0)
    assert page.get_by_role("alert").inner_text() == ""


def test_what_goes_wrong_is_said_in_words(page: Page, stand_in: StandIn, tmp_path: Path) -> None:
    page.goto(ADDRESS)
    chooser = page.get_by_label("Image file")
    chooser.set_input_files({"name": "huge.png", "mimeType": "image/png", "buffer": bytes(1_100_000)})
    page.get_by_role("alert").get_by_text("huge.png has 1.1 MB; this server takes at most 1 MB.").wait_for()
    assert "POST /v1/scenes" not in stand_in.asked

    stand_in.problems["POST /v1/scenes"] = (413, {"detail": "2 gigapixels are too many."}, {})
    chooser.set_input_files({"name": "wide.png", "mimeType": "image/png", "buffer": b"small, but many pixels"})
    page.get_by_role("alert").get_by_text("2 gigapixels are too many.").wait_for()

    page.get_by_role("button", name="harbour.tif").click()
    stand_in.steps = [("running", 30), ("failed", 30)]
    ask(page, "the hill")
    page.get_by_role("alert").get_by_text("The model fell over.").wait_for()

    stand_in.problems["POST /processes/segment/execution"] = (503, {"detail": "Busy."}, {"Retry-After": "1"})
    stand_in.steps = [("successful", 100)]
    ask(page, "the other hill")  # a busy server is asked again
    page.get_by_role("rowheader", name="the other hill").wait_for()
    assert page.get_by_role("alert").inner_text() == ""

    ask(page, "a; b; c; d; e")
    page.get_by_role("alert").get_by_text("These are 5 phrases; the server takes 4 at once.").wait_for()

    page.unroute("**/*")
    page.route("**/*", lambda route: route.abort())
    ask(page, "the last hill")
    page.get_by_role("alert").get_by_text("The server cannot be reached. Is it still running?").wait_for()


def test_an_upload_opens(page: Page, stand_in: StandIn) -> None:
    page.goto(ADDRESS)
    page.get_by_role("heading", name="Choose an image").wait_for()
    page.evaluate(
        """() => {
            const files = new DataTransfer();
            files.items.add(new File(["pixels"], "mine.png", {type: "image/png"}));
            for (const kind of ["dragover", "drop"])
                window.dispatchEvent(new DragEvent(kind, {dataTransfer: files, cancelable: true, bubbles: true}));
        }"""
    )
    page.get_by_role("heading", name="mine.png").wait_for()
    assert page.url.endswith("#u-1")


def test_a_token_is_asked_for_and_kept_for_the_tab(page: Page, stand_in: StandIn) -> None:
    stand_in.token = "sesame"
    page.goto(ADDRESS)
    page.locator("#token").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("The server does not know this token.").wait_for()
    page.locator("#token").fill("sesame")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="ships.jpg").click()
    ask(page, "the hill")
    eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels > 10_000)
    page.get_by_role("button", name="the hill", exact=True).click()
    with page.expect_download() as taken:
        page.get_by_role("link", name="GeoJSON").click()
    assert taken.value.suggested_filename == "polygons.geojson"
    assert len(json.loads(Path(taken.value.path()).read_text(encoding="utf-8"))["features"]) == 1
    page.reload()
    page.get_by_role("rowheader", name="the hill").wait_for()
    assert not page.locator("#token").is_visible()


def test_an_area_can_be_drawn_and_is_asked_about(page: Page, stand_in: StandIn) -> None:
    open_scene(page)
    ask(page, "the hill")
    eventually(page, lambda: tinted(page, MAGENTA), lambda pixels: pixels > 10_000)
    page.get_by_role("button", name="Draw an area").click()
    box = page.locator("canvas.maplibregl-canvas").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 100, y + 60, steps=4)
    page.mouse.up()
    page.get_by_text("Looks only in the marked area.").wait_for()
    assert tinted(page, MAGENTA) > 10_000  # what was there stays
    with page.expect_request("**/v1/segment") as sent:
        ask(page, "the hill")
    body = (sent.value.post_data_buffer or b"").decode()
    area = json.loads(body.split('name="area"\r\n\r\n')[1].split("\r\n")[0])
    xs, ys = zip(*area["coordinates"][0], strict=True)
    assert min(xs) == pytest.approx(WIDTH / 2, abs=1.5)  # the middle of the map is the middle of the image
    assert min(ys) == pytest.approx(HEIGHT / 2, abs=1.5)
    assert WIDTH / 2 < max(xs) < WIDTH
    assert HEIGHT / 2 < max(ys) < HEIGHT


def test_escape_gives_a_drawing_up(page: Page, stand_in: StandIn) -> None:
    open_scene(page)
    page.get_by_role("button", name="Draw an area").click()
    page.get_by_text("Drag a rectangle, or click corners and press Enter.").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Draw an area").wait_for()


def test_it_can_be_used_with_the_keyboard_alone(page: Page, stand_in: StandIn) -> None:
    page.goto(ADDRESS)
    page.get_by_role("button", name="ships.jpg").wait_for()
    seen = []
    while "ships.jpg" not in (seen[-1] if seen else ""):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent"))
        assert len(seen) < 10
    page.keyboard.press("Enter")
    page.locator("#phrase").wait_for()
    eventually(page, lambda: page.evaluate("document.activeElement.id"), lambda focused: focused == "phrase")
    page.keyboard.press("Tab")
    page.keyboard.press("/")
    page.keyboard.type("the hill")
    page.keyboard.press("Enter")
    page.get_by_role("rowheader", name="the hill").wait_for()
    while page.evaluate("document.activeElement.id") != "threshold":
        page.keyboard.press("Tab")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", page.evaluate("document.activeElement.outerHTML")
    page.keyboard.press("ArrowRight")
    eventually(page, lambda: row(page, "the hill"), lambda text: f"{area_at(0.51):,} px" in text)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (820, 1180)])
def test_everything_fits_on_the_screen(page: Page, stand_in: StandIn, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    open_scene(page)
    ask(page, "the hill; a very long phrase about the hill that is to the left of the other hill")
    page.get_by_role("rowheader", name="the hill", exact=True).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.documentElement.scrollHeight") <= height
    assert page.evaluate("(panel => panel.scrollWidth - panel.clientWidth)(document.querySelector('.scroll'))") == 0
    shown = page.locator("canvas.maplibregl-canvas").bounding_box()
    assert shown is not None
    assert shown["width"] * shown["height"] > 0.5 * width * height  # the map comes first


def test_the_whole_image_stays_in_sight_when_a_tablet_is_turned(page: Page, stand_in: StandIn) -> None:
    def share() -> float:
        """Of the map's width or height, whichever is fuller, what the image takes."""
        picture = map_picture(page)
        grey = (np.abs(picture - 60) <= 2).all(axis=2)
        rows, columns = np.flatnonzero(grey.mean(axis=1) > 0.1), np.flatnonzero(grey.mean(axis=0) > 0.1)
        if not len(rows):
            return 0.0
        return max(np.ptp(rows) / picture.shape[0], np.ptp(columns) / picture.shape[1])

    page.set_viewport_size({"width": 820, "height": 1180})
    open_scene(page)
    eventually(page, share, lambda taken: 0.85 < taken < 0.95)  # a margin is left
    page.set_viewport_size({"width": 1180, "height": 820})
    eventually(page, share, lambda taken: 0.85 < taken < 0.95)
    page.get_by_role("button", name="Zoom in").click()
    eventually(page, share, lambda taken: taken > 0.95)
    page.set_viewport_size({"width": 820, "height": 1180})
    eventually(page, share, lambda taken: taken > 0.95)  # where one looked is kept


# The checker comes with the page's tools, which `.ci/run` installs first, so that there nothing is skipped.
@pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core: npm ci in web/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_keeps_to_wcag_aa(page: Page, stand_in: StandIn, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    open_scene(page)
    ask(page, "the hill; a unicorn")
    page.get_by_role("button", name="the hill", exact=True).click()
    page.get_by_role("link", name="PNG").wait_for()
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})")
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in found["violations"]] == []
