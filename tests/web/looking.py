"""What a person before the page would see: colours on the map, texts, and that they come within reasonable time."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import PIL.Image

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from playwright.sync_api import Page

MAGENTA = (255, 40, 120)  # the first colour of a mask
CYAN = (0, 194, 255)  # the second
PATIENCE = 120.0  # s

T = TypeVar("T")


def eventually(page: Page, look: Callable[[], T], holds: Callable[[T], bool] = bool) -> T:
    """What `look` sees as soon as it `holds`; an assertion fails when it never does.

    It is the page that waits: Playwright answers requests only while it is asked for something.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        seen = look()
        if holds(seen):
            return seen
        assert time.monotonic() < deadline, f"still {seen!r} after {PATIENCE:.0f} s"
        page.wait_for_timeout(400)


def map_picture(page: Page) -> NDArray[np.int16]:
    """The map as it is shown, (H, W, 3)."""
    shot = page.locator("canvas.maplibregl-canvas").screenshot()
    return np.asarray(PIL.Image.open(BytesIO(shot)).convert("RGB"), dtype=np.int16)


def settled_map(page: Page) -> NDArray[np.int16]:
    """The map once it shows a picture that no longer changes: tiles come one by one and fade in."""

    def look() -> NDArray[np.int16] | None:
        before = map_picture(page)
        page.wait_for_timeout(1_000)
        after = map_picture(page)
        return after if after.std() > 20 and np.array_equal(before, after) else None

    settled = eventually(page, look, lambda picture: picture is not None)
    assert settled is not None
    return settled


def tinted(page: Page, colour: tuple[int, int, int]) -> int:
    """Pixels of the map that lean towards a mask's colour; the images of the tests are grey."""
    picture = map_picture(page)
    lean, wanted = picture - picture.mean(axis=2, keepdims=True), np.array(colour) - np.mean(colour)
    along = (lean @ wanted) / (np.linalg.norm(lean, axis=2).clip(1) * np.linalg.norm(wanted))
    return int(((np.linalg.norm(lean, axis=2) > 40) & (along > 0.97)).sum())


def ask(page: Page, phrase: str) -> None:
    page.locator("#phrase").fill(phrase)
    page.keyboard.press("Enter")


def slide(page: Page, name: str, value: float) -> None:
    """Move a slider as a mouse does: input events."""
    page.locator(f"#{name}").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); }", value
    )


def row(page: Page, phrase: str) -> str:
    """The text of a phrase's row in the table."""
    return page.locator("tbody tr", has=page.get_by_role("rowheader", name=phrase)).first.inner_text()
