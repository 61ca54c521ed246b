"""What a comparison of two evaluations leaves: `compare.json`, `compare.html`, and tables for the eye."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from refersat.evaluation.compare import FLIP_AT, Comparison, Measure
from refersat.evaluation.confidence import LEVEL
from refersat.output import output_folder, write_file

if TYPE_CHECKING:
    from rich.table import Table


def write_comparison(out: Path, comparison: Comparison) -> tuple[Path, ...]:
    """Write `compare.json` and `compare.html` into a folder, which is made if missing.

    Raises:
        UserError: it cannot be written to.
    """
    from refersat.evaluation.page import write_compare_page

    text = json.dumps(dataclasses.asdict(comparison), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    files = out / "compare.json", out / "compare.html"
    with output_folder(out):
        write_compare_page(files[1], comparison)
        write_file(files[0], text.encode())
    return files


def comparison_table(comparison: Comparison) -> Table:
    """The measures of both, and mIoU by type of phrase."""
    from rich.table import Table
    from rich.text import Text

    table = Table("", box=None, pad_edge=False, header_style="bold")
    for title in (comparison.a, comparison.b, "difference", f"{LEVEL} % interval", "p"):
        table.add_column(Text(title), justify="right")

    def add(title: str, measure: Measure) -> None:
        spread = "-" if measure.interval is None else "{:+.2f} to {:+.2f}".format(*measure.interval)
        p_value = "-" if measure.p_value is None else f"{measure.p_value:.4f}"
        table.add_row(
            Text(title), f"{measure.a:.2f}", f"{measure.b:.2f}", f"{measure.difference:+.2f}", spread, p_value
        )

    for measure in comparison.measures:
        add(measure.name, measure)
    if len(comparison.by_type) > 1:
        table.add_section()
        for group in comparison.by_type:
            add(f"mIoU: {group.name} ({group.count})", group.measure)
    return table


def flips_table(comparison: Comparison, *, most: int = 10) -> Table:
    """The samples that flipped, at most so many in each direction."""
    from rich.table import Table
    from rich.text import Text

    table = Table("flipped", "phrase", box=None, pad_edge=False, header_style="bold")
    for title in (f"IoU {comparison.a}", f"IoU {comparison.b}"):
        table.add_column(Text(title), justify="right")
    for verdict, flips in (("won", comparison.won), ("lost", comparison.lost)):
        for flip in flips[:most]:
            values = f"{100 * flip.iou_a:.1f}", f"{100 * flip.iou_b:.1f}"
            table.add_row(Text(f"{verdict}: {flip.id}"), Text(flip.phrase), *values)
        if len(flips) > most:
            table.add_row(f"{verdict}: {len(flips) - most} more", "", "", "")
    return table


def summary_line(comparison: Comparison) -> str:
    """What was compared, in a sentence."""
    left_out = comparison.only_a + comparison.only_b
    more = f"; {left_out} samples that only one of them has are left out" if left_out else ""
    return (
        f"{comparison.b} against {comparison.a} on {comparison.count} samples of {comparison.images} images, protocol "
        f"{comparison.protocol}: {len(comparison.won)} samples won, {len(comparison.lost)} lost at IoU {FLIP_AT}{more}"
    )
