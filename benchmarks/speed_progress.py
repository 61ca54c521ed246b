"""Draws how the fast forms compare with the plain ones over time, from the dated measurements in benchmarks/results.

refersat bench model --config large --save benchmarks/results/2026-11-30-large.json
python benchmarks/speed_progress.py --out docs/images/speed.png
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from refersat.output import write_file
from refersat.page.drawing import Drawing

RESULTS = Path(__file__).parent / "results"
BAR, GAP, LEFT, WIDE = 22, 20, 330, 420
TARGET = 0.25


def main() -> None:
    """Read all measurements of models and draw a bar for the processor time and one for the memory of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--out", type=Path, default=Path("speed.png"))
    options = parser.parse_args()
    paths = sorted(options.results.glob("*.json"), key=lambda path: path.stem)
    found = {path.stem: json.loads(path.read_text()) for path in paths}
    write_file(options.out, draw({name: each for name, each in found.items() if "pixels_equal" in each}).png())
    print(f"wrote {options.out}")


def draw(measured: dict[str, dict[str, Any]]) -> Drawing:
    """A group of bars for each measurement, by its name; 1 is the plain form in float32."""
    height = (2 * BAR + GAP) * len(measured) + 40
    drawing = Drawing("Fast form / plain form: processor time (blue), peak memory (orange)", LEFT + WIDE + 60, height)
    for share in (0.0, TARGET, 0.5, 0.75, 1.0):
        x = LEFT + share * WIDE
        drawing.line(x, 0, x, height - 24, "axis" if share == 0 else "grid")
        drawing.text(x, height - 8, f"{share:g}", anchor="middle")
    for index, (name, each) in enumerate(measured.items()):
        top = index * (2 * BAR + GAP) + GAP / 2
        machine = each["machine"]
        kept_in = "int8" if each.get("int8") else each["dtype"]
        drawing.text(LEFT - 8, top + BAR - 4, f"{name}, {kept_in}", anchor="end")
        where = machine.get("gpu", f"{machine['threads']} x {machine['processor']}")
        drawing.text(LEFT - 8, top + 2 * BAR - 4, where, anchor="end")
        for row, (ratio, style) in enumerate((("processor_ratio", "bar c0"), ("peak_memory_ratio", "bar c1"))):
            value = min(each[ratio], 1.1)
            drawing.bar(LEFT, top + row * BAR, value * WIDE, BAR - 3, f"{each[ratio]:.2f}", style)
            drawing.text(LEFT + value * WIDE + 5, top + row * BAR + BAR - 7, f"{each[ratio]:.2f}")
    return drawing


if __name__ == "__main__":
    main()
