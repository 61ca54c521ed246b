"""A chart drawn once, and written twice: as SVG for a page, as PNG for a slide or a paper.

A drawing is a list of bars, lines, paths, texts and pictures in pixels. The SVG takes its colours from the page's
style sheet by class, so that it follows light and dark; the PNG has those of the light one.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Literal, TypeAlias

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from refersat.page.markup import Attribute, Html, tag

TEXT_SIZE = 12
_SCALE = 2  # pixels of the PNG for one of the drawing
_PADDING, _TITLE_SIZE, _HEAD = 18, 16, 44

Anchor = Literal["start", "middle", "end"]
_COLOURS = {
    "bar c0": "#2a6fd0",
    "bar c1": "#d9641e",
    "bar c2": "#148f6b",
    "line c0": "#2a6fd0",
    "line c1": "#d9641e",
    "line c2": "#148f6b",
    "axis": "#868c97",
    "grid": "#ececea",
    "tick": "#565b66",
    "name": "#565b66",
}
_PAPER, _INK = "#ffffff", "#16181d"
_ON, _HALO = "#ffffff", "#000000"  # upon pictures, in light and dark
_ANCHORS: dict[Anchor, str] = {"start": "ls", "middle": "ms", "end": "rs"}  # Pillow's letters, at the baseline


@dataclass(frozen=True)
class Bar:
    """A filled rectangle; `title` is shown under the mouse."""

    x: float
    y: float
    width: float
    height: float
    title: str
    style: str


@dataclass(frozen=True)
class Line:
    """A straight line of a style."""

    x1: float
    y1: float
    x2: float
    y2: float
    style: str


@dataclass(frozen=True)
class Path:
    """A line through points (x, y) of a style."""

    points: tuple[tuple[float, float], ...]
    style: str


@dataclass(frozen=True)
class Text:
    """A line of text whose baseline is at y."""

    x: float
    y: float
    text: str
    anchor: Anchor
    style: str


@dataclass(frozen=True)
class Picture:
    """Pixels (h, w, 3), drawn as squares of one colour."""

    x: float
    y: float
    width: float
    height: float
    rgb: NDArray[np.uint8]


Item: TypeAlias = Bar | Line | Path | Text | Picture


@dataclass
class Drawing:
    """What is drawn, in order; `title` is what a reader is told who cannot see it."""

    title: str
    width: int
    height: int
    items: list[Item] = field(default_factory=list)

    def bar(self, x: float, y: float, width: float, height: float, title: str, style: str = "bar c0") -> None:
        """Add a bar in the first, second or third colour: "bar c0", "bar c1", "bar c2"."""
        self.items.append(Bar(x, y, width, height, title, style))

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str = "grid") -> None:
        """Add a line: "grid" or "axis", or "on" to lie upon a picture."""
        self.items.append(Line(x1, y1, x2, y2, style))

    def path(self, points: Iterable[tuple[float, float]], style: str = "line c0") -> None:
        """Add a line through points in the first, second or third colour: "line c0", "line c1", "line c2"."""
        self.items.append(Path(tuple(points), style))

    def text(self, x: float, y: float, text: str, *, anchor: Anchor = "start", style: str = "tick") -> None:
        """Add a text: "tick" (a number or a name beside a mark), "name" (of an axis), or "on" to lie upon a picture."""
        self.items.append(Text(x, y, text, anchor, style))

    def picture(self, x: float, y: float, width: float, height: float, rgb: NDArray[np.uint8]) -> None:
        """Add pixels."""
        self.items.append(Picture(x, y, width, height, rgb))

    def svg(self) -> Html:
        """The drawing as an element of a page that has page.css."""
        parts = [_svg_of(item) for item in self.items]
        box = f"0 0 {self.width} {self.height}"
        return tag("svg", *parts, class_="chart", viewBox=box, role="img", aria_label=self.title)

    def png(self) -> bytes:
        """The drawing as a file, with its title above."""
        width, height = self.width + 2 * _PADDING, self.height + 2 * _PADDING + _HEAD
        sheet = PIL.Image.new("RGB", (width * _SCALE, height * _SCALE), _PAPER)
        draw = ImageDraw.Draw(sheet)
        font = ImageFont.load_default(_TITLE_SIZE * _SCALE)
        draw.text((_PADDING * _SCALE, (_PADDING + _TITLE_SIZE) * _SCALE), self.title, font=font, fill=_INK, anchor="ls")
        for item in self.items:
            _paint(sheet, draw, item)
        content = BytesIO()
        sheet.save(content, "PNG")
        return content.getvalue()


def text_width(text: str) -> float:
    """How much room to keep for a text: browsers have other fonts, and some are wider than ours."""
    return 1.18 * ImageFont.load_default(TEXT_SIZE).getlength(text)


def _svg_of(item: Item) -> Html:
    match item:
        case Bar():
            title = tag("title", item.title)
            size = {"width": round(item.width, 2), "height": round(item.height, 2)}
            return tag("rect", title, class_=item.style, x=round(item.x, 2), y=round(item.y, 2), rx=1.5, **size)
        case Line():
            ends = {name: round(getattr(item, name), 2) for name in ("x1", "y1", "x2", "y2")}
            on: dict[str, Attribute] = {"stroke": _ON, "stroke_opacity": 0.55} if item.style == "on" else {}
            return tag("line", class_=item.style, **ends, **on)
        case Path():
            points = " ".join(f"{round(x, 2):g},{round(y, 2):g}" for x, y in item.points)
            return tag("polyline", class_=item.style, points=points)
        case Text():
            place = {"x": round(item.x, 2), "y": round(item.y, 2)}
            on = (
                {"fill": _ON, "stroke": _HALO, "stroke_width": 3, "paint_order": "stroke"} if item.style == "on" else {}
            )
            return tag("text", item.text, class_=item.style, text_anchor=item.anchor, **place, **on)
        case Picture():
            content = BytesIO()
            PIL.Image.fromarray(item.rgb).save(content, "PNG")
            data = f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
            size = {"width": item.width, "height": item.height}
            pixels = "image-rendering:pixelated"
            return tag("image", href=data, x=item.x, y=item.y, preserveAspectRatio="none", style=pixels, **size)


def _paint(sheet: PIL.Image.Image, draw: ImageDraw.ImageDraw, item: Item) -> None:
    def at(x: float, y: float) -> tuple[int, int]:
        return round((x + _PADDING) * _SCALE), round((y + _PADDING + _HEAD) * _SCALE)

    match item:
        case Bar():
            (x0, y0), (x1, y1) = at(item.x, item.y), at(item.x + item.width, item.y + item.height)
            if x1 > x0 and y1 > y0:
                draw.rounded_rectangle((x0, y0, x1 - 1, y1 - 1), min(3, (x1 - x0) // 2), fill=_COLOURS[item.style])
        case Line():
            colour = _COLOURS.get(item.style, _ON)
            draw.line((*at(item.x1, item.y1), *at(item.x2, item.y2)), fill=colour, width=_SCALE if colour != _ON else 1)
        case Path():
            corners = [at(x, y) for x, y in item.points]
            draw.line(corners, fill=_COLOURS[item.style], width=2 * _SCALE, joint="curve")
        case Text():
            font = ImageFont.load_default(TEXT_SIZE * _SCALE)
            colour, anchor = _COLOURS.get(item.style, _ON), _ANCHORS[item.anchor]
            halo = 3 if colour == _ON else 0
            draw.text(
                at(item.x, item.y),
                item.text,
                font=font,
                fill=colour,
                anchor=anchor,
                stroke_width=halo,
                stroke_fill=_HALO,
            )
        case Picture():
            size = round(item.width * _SCALE), round(item.height * _SCALE)
            pixels = PIL.Image.fromarray(item.rgb).resize(size, PIL.Image.Resampling.NEAREST)
            sheet.paste(pixels, at(item.x, item.y))
