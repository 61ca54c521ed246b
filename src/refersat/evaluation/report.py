"""What an evaluation leaves: `metrics.json`, `per_sample.csv`, `report.html`, and a table for the eye."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat.evaluation.confidence import LEVEL, REPLICATES, SEED, confidence_intervals, image_bootstrap
from refersat.evaluation.curves import curves
from refersat.evaluation.metrics import GROUPINGS, PRECISION_THRESHOLDS
from refersat.evaluation.protocol import PROTOCOLS
from refersat.output import write_file

if TYPE_CHECKING:
    from rich.table import Table

    from refersat.evaluation.cases import Cases
    from refersat.evaluation.rows import Evaluation, SampleRow

METRICS_FILE = "metrics.json"
SAMPLES_FILE = "per_sample.csv"
REPORT_FILE = "report.html"
RESULT_FILES = (METRICS_FILE, SAMPLES_FILE, REPORT_FILE)

RULES = {
    "scale": "every share is in percent, 0..100; null where there is no sample to count",
    "IoU": "intersection / union of one sample; 0 where the union is empty",
    "mIoU": "mean IoU over the samples that have a target",
    "oIoU": "sum of intersections / sum of unions (also called cIoU)",
    "Pr@t": "share of samples with IoU >= t",
    "intervals": f"{LEVEL} % bootstrap intervals: images are drawn with replacement, not phrases",
    "by_type": "kind of phrase as the data set says, else told from its words",
    "by_size": "share of the image's pixels that the target covers; a bound belongs to the class above it",
    "absent": "samples whose phrase names nothing: left out of every measure above, counted under presence only",
    "absent_accuracy": "share of absent phrases answered with an empty mask",
    "present_recall": "share of phrases with a target that are not answered with an empty mask",
    "presence_auroc": "how often a phrase with a target scores above an absent one, ties one half",
    "false_positive_area": "mean share of the image painted for an absent phrase",
    "curves": "on the image's own pixels; a withheld answer stays empty at every threshold",
    "time": "seconds of all processes together; background is reading while the model was at work",
}
MEASURES = ("mIoU", "oIoU", *(f"Pr@{threshold}" for threshold in PRECISION_THRESHOLDS))
_ROW_COLUMNS = (
    "present_score",
    "present",
    "type",
    "category",
    "target_area",
    "predicted_area",
    "pixels",
    "image",
    "dataset",
)


def metrics_of(evaluation: Evaluation) -> dict[str, Any]:
    """The numbers of every protocol under its name, and those of presence under "presence", with their intervals."""
    metrics: dict[str, Any] = {name: tally.result() for name, tally in evaluation.tallies.items()}
    metrics["presence"] = evaluation.presence.result()
    for place, intervals in confidence_intervals(evaluation.rows, evaluation.protocols).items():
        numbers = metrics
        for key in place:
            numbers = numbers[key]
        numbers["intervals"] = intervals
    return metrics


def time_of(evaluation: Evaluation) -> dict[str, Any]:
    """Where the time went: `seconds` of loading, model and scoring, their share in `percent`, and what was hidden."""
    every = [row.seconds for row in evaluation.rows]
    seconds = {part: sum(getattr(one, part) for one in every) for part in ("loading", "model", "scoring")}
    total = sum(seconds.values())
    return {
        "seconds": seconds,
        "percent": {part: 100 * value / total if total else None for part, value in seconds.items()},
        "background_seconds": sum(one.background for one in every),
        "seconds_per_sample": total / len(every) if every else None,
    }


def write_report(
    folder: Path, evaluation: Evaluation, provenance: Mapping[str, Any], cases: Cases
) -> tuple[dict[str, Any], tuple[Path, ...]]:
    """Write the files of an evaluation; return what `metrics.json` holds, and their paths.

    Raises:
        UserError: the folder does not exist or cannot be written to.
    """
    from refersat.evaluation.page import write_page

    confidence = {"level": LEVEL, "replicates": REPLICATES, "seed": SEED}
    metrics = {
        **metrics_of(evaluation),
        **provenance,
        "curves": curves(evaluation.rows),
        "confidence": confidence | {"images": image_bootstrap(evaluation.rows).count},
        "time": time_of(evaluation),
        "rules": RULES,
    }
    files = tuple(folder / name for name in RESULT_FILES)
    write_file(files[1], per_sample_csv(evaluation).encode())
    write_page(files[2], metrics=metrics, rows=evaluation.rows, cases=cases)
    # Last: where there is a metrics.json, the other files belong to it.
    write_file(files[0], (json.dumps(metrics, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode())
    return metrics, files


def per_sample_csv(evaluation: Evaluation) -> str:
    """One line for each sample.

    `iou` (0..1), `intersection` and `union` are those of the first protocol; those of further ones follow as `iou_NAME`
    and so on. All three stay empty where the phrase names nothing. Areas are in the image's own pixels.
    """
    first, *others = evaluation.protocols
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    further = [f"{column}_{name}" for name in others for column in ("iou", "intersection", "union")]
    writer.writerow(["id", "phrase", "iou", "intersection", "union", *_ROW_COLUMNS, *further])
    for row in evaluation.rows:
        known = (
            row.score,
            int(row.present),
            row.type,
            row.category,
            row.target_area,
            row.predicted_area,
            row.pixels,
            row.image,
            row.dataset,
        )
        cells = [cell for name in others for cell in _overlap_cells(row, name)]
        writer.writerow([row.id, row.phrase, *_overlap_cells(row, first), *known, *cells])
    return text.getvalue()


def results_table(metrics: Mapping[str, Any]) -> Table:
    """The numbers as a person wants to see them: a row for each protocol, and for each group under the first one.

    `metrics` is what `metrics_of` gives.
    """
    from rich.table import Table

    protocols = [name for name in metrics if name in PROTOCOLS]
    table = Table("protocol", caption_justify="left", box=None, pad_edge=False, header_style="bold")
    for measure in ("mIoU", f"{LEVEL} %", *MEASURES[1:], "count"):
        table.add_column(measure, justify="right", no_wrap=True)
    for name in protocols:
        _add_row(table, name, metrics[name])
    for grouping in GROUPINGS:
        members = metrics[protocols[0]].get(grouping, {})
        if len(members) > 1:
            table.add_section()
            table.add_row(grouping.replace("_", " "))
            table.caption = f"groups under protocol {protocols[0]}"
            for name, numbers in members.items():
                _add_row(table, f"  {name}", numbers)
    return table


def presence_line(metrics: Mapping[str, Any]) -> str | None:
    """One line about absence, or None where no phrase names nothing; `metrics` is what `metrics_of` gives."""
    numbers = metrics["presence"]
    if not numbers["count_absent"]:
        return None
    return (
        f"phrases that name nothing ({numbers['count_absent']}): {cell(numbers['absent_accuracy'])} % answered empty "
        f"(with a target: {cell(numbers['present_recall'])} % painted), AUROC {cell(numbers['presence_auroc'])}, "
        f"{cell(numbers['false_positive_area'])} % of the image painted in vain"
    )


def time_line(time: Mapping[str, Any]) -> str:
    """One line about where the time went; `time` is what `time_of` gives."""
    shares = ", ".join(f"{part} {cell(share)} %" for part, share in time["percent"].items())
    return (
        f"time: {shares} of {cell(time['seconds_per_sample'])} s per sample "
        f"(reading in the background: {cell(time['background_seconds'])} s in all)"
    )


def cell(value: object) -> str:
    """A number for a table."""
    return f"{value:.2f}" if isinstance(value, float) else "-" if value is None else str(value)


def _overlap_cells(row: SampleRow, protocol: str) -> tuple[float | str, int | str, int | str]:
    if row.absent:
        return "", "", ""
    value = row.iou(protocol)
    assert value is not None
    return value, *row.overlaps[protocol]


def _add_row(table: Table, title: str, numbers: Mapping[str, Any]) -> None:
    from rich.text import Text

    interval = (numbers.get("intervals") or {}).get("mIoU")
    spread = "-" if interval is None else f"{interval[0]:.1f}-{interval[1]:.1f}"
    cells = [cell(numbers[measure]) for measure in (*MEASURES, "count")]
    table.add_row(Text(title), cells[0], spread, *cells[1:])
