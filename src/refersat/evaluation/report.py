"""What an evaluation leaves: `metrics.json`, `per_sample.csv`, and a table for the eye."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from refersat.evaluation.metrics import PRECISION_THRESHOLDS, iou
from refersat.output import write_file

if TYPE_CHECKING:
    from rich.table import Table

    from refersat.evaluation.metrics import IouTally
    from refersat.evaluation.run import Evaluation, SampleRow

RULES = {
    "scale": "every share is in percent, 0..100; null where there is no sample to count",
    "IoU": "intersection / union of one sample; 0 where the union is empty",
    "mIoU": "mean IoU over the samples that have a target",
    "oIoU": "sum of intersections / sum of unions (also called cIoU)",
    "Pr@t": "share of samples with IoU >= t",
    "by_size": "share of the image's pixels that the target covers; a bound belongs to the class above it",
    "absent": "samples whose mask is null: left out of every measure above, counted under presence only",
    "absent_accuracy": "share of absent phrases answered with an empty mask",
    "present_recall": "share of phrases with a target that are not answered with an empty mask",
    "presence_auroc": "how often a phrase with a target scores above an absent one, ties one half",
    "false_positive_area": "mean share of the image painted for an absent phrase",
}
_MEASURES = ("mIoU", "oIoU", *(f"Pr@{threshold}" for threshold in PRECISION_THRESHOLDS), "count")
_ROW_COLUMNS = ("present_score", "type", "category", "target_area", "predicted_area")


def metrics_of(evaluation: Evaluation) -> dict[str, object]:
    """The numbers of every protocol under its name, and those of presence under "presence"."""
    by_protocol: dict[str, object] = {name: tally.result() for name, tally in evaluation.tallies.items()}
    return by_protocol | {"presence": evaluation.presence.result()}


def write_report(folder: Path, evaluation: Evaluation, provenance: Mapping[str, object]) -> tuple[Path, Path]:
    """Write `metrics.json` (the numbers, then `provenance` and the rules of counting) and `per_sample.csv`.

    Raises:
        UserError: the folder does not exist or cannot be written to.
    """
    metrics = metrics_of(evaluation) | dict(provenance) | {"rules": RULES}
    metrics_path, csv_path = folder / "metrics.json", folder / "per_sample.csv"
    write_file(csv_path, per_sample_csv(evaluation).encode())
    write_file(metrics_path, (json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return metrics_path, csv_path


def per_sample_csv(evaluation: Evaluation) -> str:
    """One line for each sample.

    `iou` (0..1), `intersection` and `union` are those of the first protocol; those of further ones follow as `iou_NAME`
    and so on. All three stay empty where the phrase names nothing. Areas are in the image's own pixels.
    """
    first, *others = evaluation.tallies
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    further = [f"{column}_{name}" for name in others for column in ("iou", "intersection", "union")]
    writer.writerow(["id", "phrase", "iou", "intersection", "union", *_ROW_COLUMNS, *further])
    for row in evaluation.rows:
        known = (row.score, row.type, row.category, row.target_area, row.predicted_area)
        cells = [cell for name in others for cell in _overlap_cells(row, name)]
        writer.writerow([row.id, row.phrase, *_overlap_cells(row, first), *known, *cells])
    return text.getvalue()


def results_table(evaluation: Evaluation) -> Table:
    """The numbers as a person wants to see them: a row for each protocol, and for each class under the first one."""
    from rich.table import Table

    table = Table("", box=None, pad_edge=False, header_style="bold")
    for measure in _MEASURES:
        table.add_column(measure, justify="right")
    for name, tally in evaluation.tallies.items():
        _add_row(table, name, tally.overall)
    first, tally = next(iter(evaluation.tallies.items()))
    for group in tally.classes().values():
        if len(group) > 1:
            table.add_section()
            for name, members in group.items():
                _add_row(table, f"{first}: {name}", members)
    return table


def presence_line(evaluation: Evaluation) -> str | None:
    """One line about absence, or None where no phrase names nothing."""
    numbers = evaluation.presence.result()
    if not numbers["count_absent"]:
        return None
    return (
        f"phrases that name nothing ({numbers['count_absent']}): {_cell(numbers['absent_accuracy'])} % answered empty "
        f"(with a target: {_cell(numbers['present_recall'])} % painted), AUROC {_cell(numbers['presence_auroc'])}, "
        f"{_cell(numbers['false_positive_area'])} % of the image painted in vain"
    )


def _overlap_cells(row: SampleRow, protocol: str) -> tuple[float | str, int | str, int | str]:
    if protocol not in row.overlaps:
        return "", "", ""
    intersection, union = row.overlaps[protocol]
    return iou(intersection, union), intersection, union


def _add_row(table: Table, title: str, tally: IouTally) -> None:
    from rich.text import Text

    numbers = tally.result()
    table.add_row(Text(title), *(_cell(numbers[measure]) for measure in _MEASURES))


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else "-" if value is None else str(value)
