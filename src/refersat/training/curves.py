"""A picture of a run: losses, scores and learning rate over the steps, read from its log."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refersat.page.drawing import Drawing
from refersat.page.scale import round_numbers

_WIDTH, _PANEL, _GAP, _LEFT, _LEGEND = 880, 230, 62, 62, 130
_POINTS = 400  # of a line; more would be blots
_MOST_DOTS, _DOT = 25, 6  # a line of fewer points shows each; of a single one there is no line

_MEASURES = ("mIoU", "oIoU", "Pr@0.5", "cumIoU", "Acc@0.5")
"""Of masks or of boxes."""

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class _Panel:
    """Lines over the same steps, each with its name."""

    title: str
    lines: Mapping[str, Points]
    write: Callable[[float], str] = "{:g}".format


def draw_curves(log: Path, *, name: str) -> bytes | None:
    """The curves of a run as a PNG file; None where the log has no step yet."""
    steps, validations = [], []
    for line in log.read_text(encoding="utf-8").splitlines():
        entry: dict[str, Any] = json.loads(line)
        if "loss" in entry:
            steps.append(entry)
        elif entry.get("validation"):
            validations.append(entry)
    if not steps:
        return None
    smoothed = _smoothed(steps, "loss")
    losses = {"every step": _thinned(steps, "loss"), "smoothed": smoothed}
    panels = [
        _Panel("loss", losses if len(smoothed) < len(steps) else {"": smoothed}),  # one of the two would hide the other
        _Panel("learning rate", {"": _thinned(steps, "rate")}, "{:.1e}".format),
    ]
    scored = [entry for entry in validations if entry["validation"].get("mIoU") is not None]
    if scored:
        measures = [each for each in _MEASURES if each in scored[0]["validation"]]
        lines = {each: [(entry["step"], entry["validation"][each]) for entry in scored] for each in measures}
        panels.insert(1, _Panel("validation, %" if "cumIoU" in measures else "validation, native, %", lines))
    last = max(entry["step"] for entry in steps)
    drawing = Drawing(f"Training of {name}: {last:,} steps", _WIDTH, len(panels) * (_PANEL + _GAP))
    for number, panel in enumerate(panels):
        _draw(drawing, panel, top=number * (_PANEL + _GAP) + 24, last=last)
    return drawing.png()


def _draw(drawing: Drawing, panel: _Panel, *, top: float, last: float) -> None:
    left, right, bottom = float(_LEFT), float(_WIDTH - _LEGEND), top + _PANEL - 24
    values = [value for points in panel.lines.values() for _, value in points if math.isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = 0.0 if low > 0 else low
    high = high if high > low else low + 1.0

    def x(step: float) -> float:
        return left + (right - left) * step / last

    def y(value: float) -> float:
        return bottom - (bottom - top) * (min(max(value, low), high) - low) / (high - low)

    drawing.text(0, top - 10, panel.title, style="name")
    for value in round_numbers(low, high):
        drawing.line(left, y(value), right, y(value))
        drawing.text(left - 8, y(value) + 4, panel.write(value), anchor="end")
    drawing.line(left, bottom, right, bottom, "axis")
    for step in round_numbers(0, last):
        drawing.line(x(step), bottom, x(step), bottom + 4, "axis")
        drawing.text(x(step), bottom + 18, f"{step:,.0f}", anchor="middle")
    for number, (name, points) in enumerate(panel.lines.items()):
        corners = [(x(step), y(value)) for step, value in points if math.isfinite(value)]
        drawing.path(corners, f"line c{number}")
        for across, down in corners if len(corners) <= _MOST_DOTS else ():
            drawing.bar(across - _DOT / 2, down - _DOT / 2, _DOT, _DOT, name, f"bar c{number}")
        if name:
            drawing.path([(right + 14, top + 20 * number), (right + 34, top + 20 * number)], f"line c{number}")
            drawing.text(right + 40, top + 4 + 20 * number, name)


def _thinned(entries: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """At most `_POINTS` of the values, evenly spread, the last one among them."""
    every = math.ceil(len(entries) / _POINTS)
    return [(entry["step"], entry[name]) for entry in entries[::-1][::every]][::-1]


def _smoothed(entries: Sequence[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """Means over stretches of a fiftieth of the run."""
    length = max(1, len(entries) // 50)
    parts = [entries[start : start + length] for start in range(0, len(entries), length)]
    return [(part[-1]["step"], sum(entry[name] for entry in part) / len(part)) for part in parts]
