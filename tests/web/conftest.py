"""A browser for the page's tests: Debian's Chromium, driven by Playwright, which fetches no browser of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.web.stand_in import StandIn

# WebGL without a graphics card: Chromium's own software renderer
ARGUMENTS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--force-color-profile=srgb"]
PATIENCE = 120_000  # ms; machines that test may be busy


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs Playwright: pip install playwright")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("needs a Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS, timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh window, small, as it is drawn in software; a script of the page that throws fails the test."""
    context = browser.new_context(viewport={"width": 1000, "height": 600}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    thrown: list[str] = []
    page.on("pageerror", lambda error: thrown.append(str(error)))
    yield page
    context.close()
    assert thrown == []


@pytest.fixture
def stand_in(page: Page) -> StandIn:
    from tests.web.stand_in import StandIn

    stand_in = StandIn()
    page.route("**/*", stand_in.answer)
    return stand_in
