"""A contact sheet: some samples of a data set, their masks and boxes painted in, their phrases below."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import cv2
import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from refersat.data.samples import Sample
from refersat.data.target import target_of
from refersat.errors import UserError
from refersat.imagery import read_image
from refersat.painting import ABSENT, HALO, MASK, faded, outline, tint

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SAMPLES = 240  # some 60 million pixels

_TILE, _GAP, _MARGIN = 344, 20, 36
_PHRASE, _DETAIL, _TITLE = (ImageFont.load_default(size) for size in (17, 13, 30))
_LINE, _MOST_LINES = 23, 4
_GROUND, _PANEL, _TEXT, _MUTED = (14, 17, 22), (25, 29, 37), (240, 242, 245), (146, 154, 167)
_BOX = (64, 224, 255)
_TINT = 0.3
_SMALL = 26  # a target that is shorter than this on the tile gets a ring around it


class _Mark(Enum):
    """What is painted into tiles, with the name and colour of the legend."""

    mask = ("mask", MASK)
    box = ("box", _BOX)
    absent = ("names nothing", ABSENT)


@dataclass(frozen=True)
class _Tile:
    picture: PIL.Image.Image
    lines: tuple[str, ...]
    detail: str
    marks: tuple[_Mark, ...]


def choose(samples: Sequence[Sample], count: int, seed: int) -> list[Sample]:
    """`count` samples by chance, about as many images as can be, in the order of the data set.

    The same seed chooses the same samples; one sample more or less in the data set changes the choice little.

    Raises:
        UserError: fewer than 1 or more than `MOST_SAMPLES` are wanted.
    """
    if not 1 <= count <= MOST_SAMPLES:
        raise UserError(f"a sheet shows 1 to {MOST_SAMPLES} samples, not {count}")
    drawn = sorted(range(len(samples)), key=lambda k: _chance(samples[k].id, seed))
    times: dict[object, int] = {}
    turns = []  # how often the image was drawn before: first one sample of each image, then a second one
    for k in drawn:
        turns.append(times.get(samples[k].image, 0))
        times[samples[k].image] = turns[-1] + 1
    order = sorted(range(len(drawn)), key=turns.__getitem__)  # stable: chance decides within a turn
    return [samples[k] for k in sorted(drawn[place] for place in order[:count])]


def _chance(name: str, seed: int) -> bytes:
    return hashlib.blake2b(name.encode(), key=str(seed).encode(), digest_size=8).digest()


def draw_sheet(
    samples: Iterable[Sample], *, title: str, subtitle: str, on_sample: Callable[[], None] = lambda: None
) -> PIL.Image.Image:
    """Draw samples side by side, three rows for four columns or so.

    Raises:
        UserError: there are none, an image or mask cannot be read, or they differ in size.
    """
    tiles = []
    for sample in samples:
        tiles.append(_tile(sample))
        on_sample()
    if not tiles:
        raise UserError("there are no samples to show")
    columns = min(len(tiles), max(3, math.ceil(math.sqrt(len(tiles) * 4 / 3))))
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    bands = [max(tile.picture.height for tile in row) for row in rows]
    heights = [band + _caption_height(row) for band, row in zip(bands, rows, strict=True)]
    top = _MARGIN + 88
    width = 2 * _MARGIN + columns * (_TILE + _GAP) - _GAP
    height = top + sum(heights) + _GAP * (len(rows) - 1) + _MARGIN
    sheet = PIL.Image.new("RGB", (width, height), _GROUND)
    draw = ImageDraw.Draw(sheet)
    _draw_head(draw, title, subtitle, width, {mark for tile in tiles for mark in tile.marks})
    y = top
    for row, band, row_height in zip(rows, bands, heights, strict=True):
        for column, tile in enumerate(row):
            _place(sheet, draw, tile, (_MARGIN + column * (_TILE + _GAP), y), band, row_height)
        y += row_height + _GAP
    return sheet


def _tile(sample: Sample) -> _Tile:
    rgb = read_image(sample.image).rgb
    truth = target_of(sample, (rgb.shape[0], rgb.shape[1]))
    scale = _TILE / max(rgb.shape[:2])
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = np.asarray(cv2.resize(rgb, size, interpolation=how), dtype=np.uint8)
    marks = []
    if sample.absent:
        picture = faded(picture, colour=0.3, light=0.9)
        marks.append(_Mark.absent)
    elif sample.load_mask is not None and truth is not None:
        _paint(picture, truth)
        marks.append(_Mark.mask)
    if sample.boxes:
        marks.append(_Mark.box)
    for x0, y0, x1, y1 in sample.boxes:
        corners = [round(value * scale) for value in (x0, y0, x1, y1)]
        # Beside a mask a box tells little: thin, so that it hides nothing.
        for colour, thickness in ((_BOX, 1),) if _Mark.mask in marks else ((HALO, 4), (_BOX, 2)):
            cv2.rectangle(picture, corners[:2], corners[2:], colour, thickness, cv2.LINE_AA)
    detail = " · ".join(filter(None, (sample.category, sample.type, sample.split)))
    return _Tile(PIL.Image.fromarray(picture), tuple(_wrapped(sample.phrase)), detail, tuple(marks))


def _paint(picture: NDArray[np.uint8], truth: NDArray[np.bool_]) -> None:
    """Tint a mask of the original's size and outline it; a ring leads the eye to what is small."""
    height, width = picture.shape[:2]
    share = np.asarray(cv2.resize(truth.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA))
    shape = (share > 0.5).astype(np.uint8)
    if not shape.any():  # thinner than a pixel of the tile
        shape = (share > 0).astype(np.uint8)
    if not shape.any():
        return
    x, y, w, h = cv2.boundingRect(shape)
    small = max(w, h) < _SMALL
    tint(picture, shape, _TINT)
    outline(picture, shape, thickness=1 if small else 2, halo=0 if small else 4)
    if small:
        centre, radius = (x + w // 2, y + h // 2), _SMALL
        cv2.circle(picture, centre, radius, HALO, 4, cv2.LINE_AA)
        cv2.circle(picture, centre, radius, MASK, 2, cv2.LINE_AA)


def _place(
    sheet: PIL.Image.Image, draw: ImageDraw.ImageDraw, tile: _Tile, corner: tuple[int, int], band: int, height: int
) -> None:
    """Draw a tile of that height, its picture centred in the upper `band` pixels."""
    x, y = corner
    draw.rounded_rectangle((x, y, x + _TILE - 1, y + height - 1), 10, fill=_PANEL)
    picture = tile.picture
    at = (x + (_TILE - picture.width) // 2, y + (band - picture.height) // 2)
    rounded = PIL.Image.new("L", (_TILE, height), 0)
    ImageDraw.Draw(rounded).rounded_rectangle((0, 0, _TILE - 1, height - 1), 10, fill=255)
    inset = (at[0] - x, at[1] - y, at[0] - x + picture.width, at[1] - y + picture.height)
    sheet.paste(picture, at, rounded.crop(inset))
    if _Mark.absent in tile.marks:
        _draw_tag(draw, x + 12, y + 12, "names nothing here")
    line = y + band + 14
    for text in tile.lines:
        draw.text((x + 14, line), text, font=_PHRASE, fill=_TEXT)
        line += _LINE
    draw.text((x + 14, line + 4), _cut(tile.detail, _DETAIL, _TILE - 28), font=_DETAIL, fill=_MUTED)


def _caption_height(row: Sequence[_Tile]) -> int:
    return 14 + max(len(tile.lines) for tile in row) * _LINE + (24 if any(tile.detail for tile in row) else 0) + 10


def _draw_tag(draw: ImageDraw.ImageDraw, x: int, y: int, text: str) -> None:
    width = _DETAIL.getlength(text)
    draw.rounded_rectangle((x, y, x + width + 20, y + 26), 13, fill=ABSENT)
    draw.text((x + 10, y + 13), text, font=_DETAIL, fill=_GROUND, anchor="lm")


def _draw_head(draw: ImageDraw.ImageDraw, title: str, subtitle: str, width: int, marks: set[_Mark]) -> None:
    draw.text((_MARGIN, _MARGIN + 46), _cut(subtitle, _PHRASE, width - 2 * _MARGIN), font=_PHRASE, fill=_MUTED)
    x = float(width - _MARGIN)
    for mark in sorted(marks, key=list(_Mark).index, reverse=True):
        name, colour = mark.value
        x -= _PHRASE.getlength(name)
        draw.text((x, _MARGIN + 8), name, font=_PHRASE, fill=_MUTED)
        x -= 24
        draw.rounded_rectangle((x, _MARGIN + 11, x + 15, _MARGIN + 26), 4, fill=colour)
        x -= 26
    draw.text((_MARGIN, _MARGIN), _cut(title, _TITLE, x - _MARGIN), font=_TITLE, fill=_TEXT)


def _wrapped(phrase: str) -> list[str]:
    """The phrase in lines that fit below a tile; what does not fit in the last one is cut off."""
    room = _TILE - 28
    lines: list[str] = []
    for word in phrase.split():
        if lines and _PHRASE.getlength(f"{lines[-1]} {word}") <= room:
            lines[-1] = f"{lines[-1]} {word}"
        elif len(lines) < _MOST_LINES:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} …"
            break
    return [_cut(line, _PHRASE, room) for line in lines] or [""]


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room: float) -> str:
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1].rstrip()
    return f"{text}…"
