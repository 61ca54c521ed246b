"""Cards of single cases: the image with the truth outlined and the answer filled, or the probability, or as it is.

Image and probability are embedded as data URIs, the masks drawn over them as SVG paths; which of them show is chosen
by the style sheet (`figure.view-...`), so that the page needs no script.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import PIL.Image

from refersat.page.markup import Html, join, tag

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refersat.evaluation.cases import Case

_JPEG_QUALITIES = (82, 60, 40, 20)  # the first that keeps a photo below
_LARGEST_JPEG = 60_000  # bytes; with it, 36 cases of pure noise still make a page below 5 MB
_HEAT_SIDE = 96  # px, longest side of the embedded probability: it is smooth, and drawn smoothly
_HEAT = (255, 40, 120)  # the colour of masks in refersat.overlay and page.css
_LONGEST_PATH = 12_000  # characters of the outlines of one mask; for the same reason
_MOST_OUTLINES = 500  # more make a longer path


def gallery(cases: Sequence[Case]) -> Html:
    """The cards of some cases, in their order."""
    return tag("div", *(card(case) for case in cases), class_="gallery")


def card(case: Case) -> Html:
    """One case: picture, phrase, IoU, score, and what it is."""
    verdict = "names nothing here" if case.truth is None else f"IoU {case.iou:.2f}" if case.iou is not None else ""
    answer = "" if case.prediction.any() else "answered: nothing"
    facts = " · ".join(fact for fact in (case.type, case.category, answer) if fact)
    return tag(
        "figure",
        _picture(case),
        tag(
            "figcaption",
            tag(
                "div",
                tag("span", verdict, class_="verdict"),
                tag("span", f"score {case.score:.2f}", class_="score"),
                class_="numbers",
            ),
            tag("p", tag("bdi", case.phrase), class_="phrase"),
            tag("p", tag("bdi", facts), class_="facts") if facts else None,
            tag("p", tag("bdi", case.id), class_="id"),
        ),
        class_="case",
    )


def _picture(case: Case) -> Html:
    height, width = case.image.shape[:2]
    size = {"width": width, "height": height}
    drawn = [
        tag("image", class_="photo", href=_jpeg(case.image), **size),
        tag("image", class_="heat", href=_heat(case.probability), preserveAspectRatio="none", **size),
        tag("path", class_="answer", d=mask_path(case.prediction)),
    ]
    if case.truth is not None:
        outline = mask_path(case.truth)
        drawn += [tag("path", class_="truth halo", d=outline), tag("path", class_="truth", d=outline)]
    return tag("svg", tag("title", case.phrase), *drawn, viewBox=f"0 0 {width} {height}", role="img")


def mask_path(mask: NDArray[np.bool_]) -> str:
    """The outlines of a mask (H, W), holes too, as the data of an SVG path in pixels; "" of an empty one.

    A mask too ragged for a page is drawn coarser, by halves.
    """
    factor = 1
    while (path := _path(mask, factor)) is None:
        factor *= 2
    return path


def _path(mask: NDArray[np.bool_], factor: int) -> str | None:
    """The path of the mask on a grid that is coarser by `factor`, None if it is too long."""
    height, width = mask.shape
    size = max(1, width // factor), max(1, height // factor)
    coarse = mask if factor == 1 else cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
    contours, _ = cv2.findContours(coarse.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if len(contours) > _MOST_OUTLINES:
        return None
    step = np.array((width / size[0], height / size[1]))
    parts = []
    for contour in contours:
        points = (cv2.approxPolyDP(contour, 0.6, closed=True)[:, 0] + 0.5) * step  # through the middle of rim pixels
        parts.append("M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in points) + "Z")
    path = "".join(parts)
    return path if len(path) <= _LONGEST_PATH else None


def _jpeg(rgb: NDArray[np.uint8]) -> str:
    content = b""
    for quality in _JPEG_QUALITIES:
        data = io.BytesIO()
        PIL.Image.fromarray(rgb).save(data, "JPEG", quality=quality, optimize=True)
        content = data.getvalue()
        if len(content) <= _LARGEST_JPEG:
            break
    return _data_uri("image/jpeg", content)


def _heat(probability: NDArray[np.float32]) -> str:
    """The probability (H, W) as how dense a colour lies over the image."""
    height, width = probability.shape
    scale = min(1.0, _HEAT_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(probability.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    pixels = np.empty((*small.shape, 4), np.uint8)
    pixels[..., :3] = _HEAT
    pixels[..., 3] = np.rint(np.clip(small, 0, 1) * 220)
    data = io.BytesIO()
    PIL.Image.fromarray(pixels).save(data, "PNG", optimize=True)
    return _data_uri("image/png", data.getvalue())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def legend() -> Html:
    """What the colours over an image mean, and the choice of what to lay over it, for all cards of the page."""
    views = (("answer", "Answer and truth"), ("heat", "Probability"), ("photo", "Image only"))
    choice = [
        tag("label", tag("input", type="radio", name="view", value=value, checked=value == "answer"), title)
        for value, title in views
    ]
    keys = [
        tag("span", tag("i", class_="key answer"), "answer"),
        tag("span", tag("i", class_="key truth"), "truth"),
    ]
    return tag("div", tag("div", *choice, class_="views"), tag("div", join(keys), class_="keys"), class_="legend")
