"""The experiment of PSLG-SAM as one table and one figure, from what `pslg_steps.py` measured.

python benchmarks/pslg_report.py val=out/val probe=out/probe --figure docs/images/pslg-experiment.png

Each NAME=FOLDER holds a `pslg_steps.json`. The table goes to stdout as markdown.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refersat.output import write_file
from refersat.page.drawing import Drawing
from refersat.page.scale import round_numbers

Numbers = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Where boxes are from -> variant -> its numbers."""

COLUMNS = ("mIoU", "oIoU", "Pr@0.5", "Pr@0.7", "Pr@0.9", "ms point", "ms SAM", "ms boundary")
_LABELS, _PANEL, _LINE, _MARGIN = 250, 420, 22, 60


def table(measured: Mapping[str, Numbers]) -> str:
    """A line for each variant."""
    lines = [f"| data | boxes | steps | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 3) + "|"]
    for data, places in measured.items():
        for place, rows in places.items():
            for variant, numbers in rows.items():
                cells = " | ".join(f"{numbers[column]:.1f}" for column in COLUMNS)
                lines.append(f"| {data} ({numbers['count']}) | {place} | {variant} | {cells} |")
    return "\n".join(lines)


def draw(measured: Mapping[str, Numbers]) -> bytes:
    """A PNG: mIoU of each line of the table."""
    groups = [(f"{data}, {place}", rows) for data, places in measured.items() for place, rows in places.items() if rows]
    count = sum(len(rows) + 1 for _, rows in groups)
    bottom = _LINE * count + 10
    drawing = Drawing("PSLG-SAM: mIoU in % by boxes and steps", _LABELS + _PANEL + _MARGIN, bottom + 30)

    def x(value: float) -> float:
        return _LABELS + _PANEL * value / 100

    for value in round_numbers(0, 100):
        drawing.line(x(value), 4, x(value), bottom)
        drawing.text(x(value), bottom + 18, f"{value:g}", anchor="middle")
    line = 0
    for number, (title, rows) in enumerate(groups):
        drawing.text(_LABELS - 10, _LINE * (line + 0.5) + 14, title, anchor="end", style="name")
        for variant, numbers in rows.items():
            line += 1
            middle, score = _LINE * (line + 0.5) + 10, float(numbers["mIoU"])
            drawing.text(_LABELS - 10, middle + 4, variant, anchor="end")
            drawing.bar(_LABELS, middle - 8, x(score) - _LABELS, 16, f"{score:.2f}", f"bar c{number % 3}")
            drawing.text(x(score) + 6, middle + 4, f"{score:.1f}")
        line += 1
    drawing.line(_LABELS, 4, _LABELS, bottom, "axis")
    return drawing.png()


def main() -> None:
    """Print the table, draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--figure", type=Path, metavar="FILE")
    words = parser.parse_args()
    measured: dict[str, Numbers] = {}
    for each in words.measured:
        name, _, folder = each.partition("=")
        measured[name] = json.loads((Path(folder) / "pslg_steps.json").read_text(encoding="utf-8"))["variants"]
    print(table(measured))
    if words.figure:
        write_file(words.figure, draw(measured))


if __name__ == "__main__":
    main()
