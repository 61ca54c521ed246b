"""The charts of a data set's page."""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from refersat.page.drawing import Drawing, text_width

WIDTH = 480
_ROW, _BAR = 24, 15
_LONGEST_LABEL = 190
_PLOT = 230  # height of columns
_SIDE = 400  # of a heat map


def bars(title: str, counts: Mapping[str, int], *, most: int = 30) -> Drawing:
    """Lying bars, in the order given, with number and share at the end; what is over `most` is one bar of others."""
    rows = list(counts.items())
    total = sum(counts.values())
    if len(rows) > most:
        rest = rows[most - 1 :]
        rows = [*rows[: most - 1], (f"{len(rest)} others", sum(count for _, count in rest))]
    labels = [_shortened(name) for name, _ in rows]
    left = max((text_width(label) for label in labels), default=0.0) + 10
    ends = [f"{count:,} ({_percent(count, total)})" for _, count in rows]
    room = WIDTH - left - max((text_width(end) for end in ends), default=0.0) - 10
    longest = max((count for _, count in rows), default=0) or 1
    drawing = Drawing(title, WIDTH, _ROW * max(1, len(rows)) + 4)
    for k, ((name, count), label, end) in enumerate(zip(rows, labels, ends, strict=True)):
        middle = _ROW * k + _ROW / 2 + 2
        length = max(room * count / longest, 1.0 if count else 0.0)
        drawing.text(left - 8, middle + 4, label, anchor="end")
        drawing.bar(left, middle - _BAR / 2, length, _BAR, f"{name}: {end}")
        drawing.text(left + length + 7, middle + 4, end)
    return drawing


def columns(title: str, counts: Mapping[str, int], *, x_label: str, of: str) -> Drawing:
    """Standing bars, in the order given, with their share of all above; names that would touch are left out.

    `of` says what is counted ("phrases").
    """
    top, bottom = 46, _PLOT
    drawing = Drawing(title, WIDTH, bottom + 44)
    total, highest = sum(counts.values()), max(counts.values(), default=0) or 1
    widest = max((text_width(name) for name in counts), default=0.0)
    step = (WIDTH - widest) / max(1, len(counts))  # half a name may stand out on either side
    every = max(1, math.ceil((widest + 8) / step))
    with_share = step > text_width("0.00")
    drawing.text(0, 14, f"% of the {of}" if with_share else f"{_percent(highest, total)} at most", style="name")
    for k, (name, count) in enumerate(counts.items()):
        height = (bottom - top) * count / highest
        centre = widest / 2 + step * (k + 0.5)
        width = min(step * 0.82, 56)
        drawing.bar(centre - width / 2, bottom - height, width, height, f"{name}: {count:,} ({_percent(count, total)})")
        if with_share and count:
            share = _percent(count, total).removesuffix(" %")
            drawing.text(centre, bottom - height - 6, share, anchor="middle")
        if k % every == 0:
            drawing.text(centre, bottom + 17, name, anchor="middle")
    drawing.line(0, bottom, WIDTH, bottom, "axis")
    drawing.text(WIDTH / 2, bottom + 38, x_label, anchor="middle", style="name")
    return drawing


def heat_map(
    title: str, values: NDArray[np.floating], *, scale: str, thirds: NDArray[np.floating] | None = None
) -> Drawing:
    """Values (N, N) >= 0 over the image, dark to bright, with a scale below; `scale` writes the highest value.

    Lines mark the thirds; the shares `thirds` (3, 3), 0..1, stand in them.
    """
    left = (WIDTH - _SIDE) / 2
    drawing = Drawing(title, WIDTH, _SIDE + 46)
    highest = float(values.max())
    levels = np.rint(values / (highest or 1.0) * 255).astype(np.uint8)
    drawing.picture(left, 0, _SIDE, _SIDE, _coloured(levels))
    for k in (1, 2):
        drawing.line(left + _SIDE * k / 3, 0, left + _SIDE * k / 3, _SIDE, "on")
        drawing.line(left, _SIDE * k / 3, left + _SIDE, _SIDE * k / 3, "on")
    if thirds is not None:
        for (row, column), share in np.ndenumerate(thirds):
            x, y = left + _SIDE * (column + 0.5) / 3, _SIDE * (row + 1) / 3 - 10
            drawing.text(x, y, f"{100 * share:.0f} %", anchor="middle", style="on")
    ramp = _coloured(np.arange(256, dtype=np.uint8)[None])
    drawing.picture(left, _SIDE + 12, _SIDE, 8, ramp)
    drawing.text(left, _SIDE + 36, "0")
    drawing.text(left + _SIDE, _SIDE + 36, scale, anchor="end")
    return drawing


def _coloured(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    bgr = np.asarray(cv2.applyColorMap(levels, cv2.COLORMAP_VIRIDIS), dtype=np.uint8)
    return np.ascontiguousarray(bgr[..., ::-1])


def _percent(count: int, total: int) -> str:
    share = 100 * count / total if total else 0.0
    return f"{share:.0f} %" if share >= 9.5 or not count else f"{share:.1f} %"


def _shortened(name: str) -> str:
    if text_width(name) <= _LONGEST_LABEL:
        return name
    while name and text_width(f"{name}…") > _LONGEST_LABEL:
        name = name[:-1]
    return f"{name.rstrip()}…"


def clipped(counts: Mapping[int, int], *, share: float = 0.99) -> dict[str, int]:
    """Counts by whole number, without gaps, and everything above the `share` of the total in one last class."""
    if not counts:
        return {}
    total, seen = sum(counts.values()), 0
    low, last = min(counts), max(counts)
    for value in range(low, last + 1):
        seen += counts.get(value, 0)
        if seen >= share * total and last - value > 1:
            beyond = sum(count for key, count in counts.items() if key > value)
            found = {str(key): counts.get(key, 0) for key in range(low, value + 1)}
            return found | ({f">{value}": beyond} if beyond else {})
    return {str(key): counts.get(key, 0) for key in range(low, last + 1)}
