"""Charts as SVG, drawn by hand: lines, histogram, reliability, and strips for the cells of tables.

All colours and fonts come from page.css by class, so that one drawing serves light, dark and paper. Marks carry a
`<title>`, which browsers show under the mouse.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from refersat.page.markup import Html, join, tag
from refersat.page.scale import round_numbers

WIDTH, HEIGHT = 480, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 16, 14, 46
_STRIP = 220, 20  # width and height of the drawing in a table cell
_MOST_DOTS = 25  # a longer line has no dots: they would touch


@dataclass(frozen=True)
class Axis:
    """One direction of a chart: what it shows, from where to where, and how its numbers are written."""

    label: str
    low: float
    high: float
    write: Callable[[float], str] = "{:g}".format

    def ticks(self) -> list[float]:
        """Round numbers within the axis, about five."""
        return round_numbers(self.low, self.high)


@dataclass(frozen=True)
class Series:
    """A named line; `colour` counts the colours of page.css from 0."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0


@dataclass(frozen=True)
class Bin:
    """A bar of a histogram over `low` <= x < `high`, for each series the number in it."""

    low: float
    high: float
    counts: tuple[int, ...]


@dataclass(frozen=True)
class ReliabilityBin:
    """The answers with a probability in `low`..`high`: how many (never 0), their mean probability, how many true."""

    low: float
    high: float
    count: int
    mean_probability: float
    share_true: float


@dataclass(frozen=True)
class _Frame:
    """Where an x and a y lie on the drawing."""

    x_axis: Axis
    y_axis: Axis

    def x(self, value: float) -> float:
        share = (value - self.x_axis.low) / (self.x_axis.high - self.x_axis.low)
        return round(_LEFT + min(max(share, 0.0), 1.0) * (WIDTH - _LEFT - _RIGHT), 2)

    def y(self, value: float) -> float:
        share = (value - self.y_axis.low) / (self.y_axis.high - self.y_axis.low)
        return round(HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM), 2)

    def drawn(self) -> Html:
        """Grid, numbers and names of both axes."""
        left, right, top, bottom = _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM
        parts: list[Html] = []
        for value in self.y_axis.ticks():
            y = self.y(value)
            parts.append(tag("line", class_="grid", x1=left, x2=right, y1=y, y2=y))
            label = self.y_axis.write(value)
            parts.append(tag("text", label, class_="tick", x=left - 8, y=y + 4, text_anchor="end"))
        for value in self.x_axis.ticks():
            x = self.x(value)
            parts.append(tag("line", class_="axis", x1=x, x2=x, y1=bottom, y2=bottom + 4))
            label = self.x_axis.write(value)
            parts.append(tag("text", label, class_="tick", x=x, y=bottom + 18, text_anchor="middle"))
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        parts += [
            tag("line", class_="axis", x1=left, x2=right, y1=bottom, y2=bottom),
            tag("text", self.x_axis.label, class_="name", x=middle_x, y=HEIGHT - 8, text_anchor="middle"),
            tag(
                "text",
                self.y_axis.label,
                class_="name",
                transform=f"translate(13 {middle_y:g}) rotate(-90)",
                text_anchor="middle",
            ),
        ]
        return join(*parts)


def line_chart(
    series: Sequence[Series], *, x: Axis, y: Axis, label: str, mark: tuple[float, str] | None = None
) -> Html:
    """Lines over one pair of axes; `mark` names a place on the x axis by a vertical line."""
    frame = _Frame(x, y)
    parts = [frame.drawn()]
    if mark is not None:
        parts.append(_mark(frame, *mark))
    for line in series:
        path = " ".join(f"{frame.x(a):g},{frame.y(b):g}" for a, b in line.points)
        parts.append(tag("polyline", class_=f"line c{line.colour}", points=path))
        if len(line.points) <= _MOST_DOTS:
            parts += [
                tag(
                    "circle",
                    tag("title", f"{line.name}: {y.write(b)} at {x.write(a)}"),
                    class_=f"dot c{line.colour}",
                    cx=frame.x(a),
                    cy=frame.y(b),
                    r=3,
                )
                for a, b in line.points
            ]
    return _drawing(label, *parts)


def histogram(bins: Sequence[Bin], *, names: Sequence[str], x: Axis, y_label: str, label: str) -> Html:
    """Bars that stand side by side within a bin, one for each name."""
    tallest = max((count for item in bins for count in item.counts), default=0)
    frame = _Frame(x, Axis(y_label, 0, max(tallest, 1) * 1.05, _whole))
    parts = [frame.drawn()]
    for item in bins:
        left, right = frame.x(item.low) + 1, frame.x(item.high) - 1
        width = (right - left) / len(names)
        for k, (name, count) in enumerate(zip(names, item.counts, strict=True)):
            if not count:
                continue
            top = min(frame.y(count), frame.y(0) - 1.5)  # one among thousands stays visible
            parts.append(
                tag(
                    "rect",
                    tag("title", f"{name}: {count} from {x.write(item.low)} to {x.write(item.high)}"),
                    class_=f"bar c{k}",
                    x=round(left + k * width, 2),
                    y=top,
                    width=round(width, 2),
                    height=round(frame.y(0) - top, 2),
                    rx=1.5,
                )
            )
    return _drawing(label, *parts)


def reliability_diagram(bins: Sequence[ReliabilityBin], *, x_label: str, y_label: str, label: str) -> Html:
    """How often answers of a probability were true, against that probability; on the diagonal it is calibrated.

    The area of a dot follows the number of answers in its bin; a thin line shows its distance from the diagonal.
    """
    frame = _Frame(Axis(x_label, 0, 1), Axis(y_label, 0, 1))
    diagonal = tag("line", class_="reference", x1=frame.x(0), y1=frame.y(0), x2=frame.x(1), y2=frame.y(1))
    parts = [frame.drawn(), diagonal]
    most = max((item.count for item in bins), default=1)
    for item in bins:
        x, said = frame.x(item.mean_probability), frame.y(item.mean_probability)
        parts.append(tag("line", class_="gap", x1=x, x2=x, y1=said, y2=frame.y(item.share_true)))
    path = " ".join(f"{frame.x(item.mean_probability):g},{frame.y(item.share_true):g}" for item in bins)
    parts.append(tag("polyline", class_="line c0 thin", points=path))
    for item in bins:
        title = f"{item.count:,} answers around {item.mean_probability:.2f}: {item.share_true:.2f} true"
        parts.append(
            tag(
                "circle",
                tag("title", title),
                class_="dot c0",
                cx=frame.x(item.mean_probability),
                cy=frame.y(item.share_true),
                r=round(3 + 6 * math.sqrt(item.count / most), 2),
            )
        )
    return _drawing(label, *parts)


def interval_strip(value: float, interval: tuple[float, float] | None, *, reach: float, verdict: str) -> Html:
    """A small drawing for a table cell: a difference and its interval on an axis from -reach to +reach.

    `verdict` is its class: "better", "worse" or "unclear".
    """
    width, height = _STRIP
    middle = height / 2

    def place(number: float) -> float:
        return round(width / 2 + min(max(number / reach, -1.0), 1.0) * (width / 2 - 5), 2)

    parts = [tag("line", class_="zero", x1=width / 2, x2=width / 2, y1=1, y2=height - 1)]
    if interval is not None:
        low, high = interval
        parts.append(tag("line", class_="range", x1=place(low), x2=place(high), y1=middle, y2=middle))
    parts.append(tag("circle", class_="centre", cx=place(value), cy=middle, r=4))
    return _strip(parts, verdict)


def shift_strip(before: float, after: float) -> Html:
    """A small drawing for a table cell: an IoU before (ring) and after (dot), from 0 to 1, with a tick at one half."""
    width, height = _STRIP
    middle = height / 2
    x, y = (round(5 + min(max(value, 0.0), 1.0) * (width - 10), 2) for value in (before, after))
    parts = [
        tag("line", class_="zero", x1=5, x2=width - 5, y1=middle, y2=middle),
        tag("line", class_="zero", x1=width / 2, x2=width / 2, y1=4, y2=height - 4),
        tag("line", class_="range", x1=x, x2=y, y1=middle, y2=middle),
        tag("circle", class_="ring", cx=x, cy=middle, r=3.5),
        tag("circle", class_="centre", cx=y, cy=middle, r=4),
    ]
    return _strip(parts, "better" if after > before else "worse")


def _strip(parts: Sequence[Html], verdict: str) -> Html:
    width, height = _STRIP
    return tag("svg", *parts, class_=f"strip {verdict}", viewBox=f"0 0 {width} {height}", width=width, height=height)


def _mark(frame: _Frame, value: float, text: str) -> Html:
    x = frame.x(value)
    on_the_left = x > WIDTH * 0.7
    return join(
        tag("line", class_="mark", x1=x, x2=x, y1=_TOP, y2=HEIGHT - _BOTTOM),
        tag(
            "text",
            text,
            class_="tick",
            x=x - 6 if on_the_left else x + 6,
            y=_TOP + 10,
            text_anchor="end" if on_the_left else "start",
        ),
    )


def _drawing(label: str, *parts: Html) -> Html:
    return tag(
        "svg",
        tag("title", label),
        *parts,
        class_="chart",
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=label,
    )


def _whole(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else ""
