"""The picture of an answer: the image, the mask tinted and outlined on it, and a caption below."""

from __future__ import annotations

import textwrap

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from refersat.painting import ABSENT, MASK, faded, outline, tint

SHORTEST_LONG_SIDE = 720  # smaller images are enlarged, so that the caption can be read
LONGEST_SIDE = 2048  # larger ones are reduced to what a screen shows

_TINT = 0.34
CAPTION = (19, 22, 28)
TEXT = (240, 242, 245)
MUTED = (150, 156, 166)
_MAX_LINES = 3


def draw_overlay(
    rgb: NDArray[np.uint8], mask: NDArray[np.bool_], *, phrase: str, score: float, present: bool
) -> PIL.Image.Image:
    """Draw an answer.

    Args:
        rgb: (H, W, 3).
        mask: (H, W).
        phrase: the caption; shortened to a few lines.
        score: shown beside it.
        present: False fades the image and says "not found".

    Returns:
        An RGB picture of the image's shape, at most `LONGEST_SIDE` wide or high, and a caption bar below it.
    """
    picture, shape = _scaled(rgb, mask)
    if present:
        _paint(picture, shape)
    else:
        picture = faded(picture, colour=0.35, light=0.7)
    caption = _caption(picture.shape[1], phrase, score, present)
    height, width = picture.shape[:2]
    whole = PIL.Image.new("RGB", (width, height + caption.height), CAPTION)
    whole.paste(PIL.Image.fromarray(picture), (0, 0))
    whole.paste(caption, (0, height))
    return whole


def _scaled(rgb: NDArray[np.uint8], mask: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Image and mask (0 or 1) at the picture's size."""
    height, width = mask.shape
    scale = min(max(1.0, SHORTEST_LONG_SIDE / max(height, width)), LONGEST_SIDE / max(height, width))
    if scale == 1.0:
        return rgb.copy(), mask.astype(np.uint8)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    soft = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
    return np.asarray(cv2.resize(rgb, size, interpolation=how), dtype=np.uint8), (soft > 0.5).astype(np.uint8)


def _paint(picture: NDArray[np.uint8], shape: NDArray[np.uint8]) -> None:
    thickness = max(2, round(max(shape.shape) / 450))
    tint(picture, shape, _TINT)
    outline(picture, shape, thickness=thickness, halo=thickness + 2)


def _caption(width: int, phrase: str, score: float, present: bool) -> PIL.Image.Image:
    """A bar with the phrase on the left and the score, or "not found", on the right."""
    size = min(max(16, round(width / 40)), 40)
    font, small = ImageFont.load_default(size), ImageFont.load_default(max(13, round(size * 0.8)))
    verdict, colour = (f"{score:.2f}", MASK) if present else ("not found", ABSENT)
    detail = "score" if present else f"score {score:.2f}"
    pad = size
    right = max(font.getlength(verdict), small.getlength(detail))
    lines = wrapped(phrase, font, width - 2 * pad - round(right) - pad - size)
    line_height = round(size * 1.35)
    height = max(len(lines), 2) * line_height + pad
    bar = PIL.Image.new("RGB", (width, height), CAPTION)
    draw = ImageDraw.Draw(bar)
    draw.rectangle((0, 0, max(4, size // 4), height), fill=colour)
    top = (height - len(lines) * line_height) / 2
    for number, line in enumerate(lines):
        draw.text((pad, top + (number + 0.5) * line_height), line, font=font, fill=TEXT, anchor="lm")
    middle = height / 2
    draw.text((width - pad, middle - line_height * 0.45), verdict, font=font, fill=colour, anchor="rm")
    draw.text((width - pad, middle + line_height * 0.45), detail, font=small, fill=MUTED, anchor="rm")
    return bar


def wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float, max_lines: int = _MAX_LINES
) -> list[str]:
    """A text in lines that are not wider than `room` pixels, cut off where it needs more than `max_lines`."""
    per_line = max(8, int(room * len(text) / max(font.getlength(text), 1)))
    return textwrap.wrap(text, per_line, max_lines=max_lines, placeholder=" …")
