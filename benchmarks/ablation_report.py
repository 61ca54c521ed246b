"""The table and the picture of the ablations: our numbers beside the paper's."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ablation_rows import ROWS

from refersat.output import write_file
from refersat.page.drawing import Drawing
from refersat.page.scale import round_numbers

_LINE, _LABELS, _PANEL, _GAP, _MARGIN = 30, 230, 310, 40, 20


@dataclass(frozen=True)
class Score:
    """Of one row with one seed, native protocol, in percent; `minutes` is what its training took."""

    miou: float
    oiou: float
    phrases: int
    minutes: float


@dataclass(frozen=True)
class Conditions:
    """What every table says below it."""

    seeds: int
    steps: int
    start_steps: int
    side: int
    machine: str


Scores = Mapping[str, Mapping[int, Score]]
"""Row -> seed -> score."""


def write_report(folder: Path, scores: Scores, starts: Mapping[int, Score], conditions: Conditions) -> None:
    """Write ablations.csv, ablations.md and ablations.png for the rows that have a score.

    Raises:
        UserError: the folder does not allow it.
    """
    write_file(folder / "ablations.csv", table_csv(scores, conditions).encode())
    write_file(folder / "ablations.md", table_markdown(scores, starts, conditions).encode())
    write_file(folder / "ablations.png", draw(scores, conditions))


def table_csv(scores: Scores, conditions: Conditions) -> str:
    """One line for each row."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ours = ["mIoU", "mIoU_lowest", "mIoU_highest", "oIoU", "mIoU_by_seed", "mIoU_above_baseline"]
    conditioned = ["steps", "start_steps", "image_size", "phrases", "minutes", "machine"]
    writer.writerow(["row", "seeds", *ours, "paper_mIoU", "paper_oIoU", "paper_above_baseline", *conditioned])
    for name, by_seed in scores.items():
        mious = [score.miou for score in by_seed.values()]
        paper = ROWS[name].paper
        writer.writerow(
            [
                name,
                " ".join(map(str, by_seed)),
                *(f"{value:.2f}" for value in (_mean(mious), min(mious), max(mious))),
                f"{_mean([score.oiou for score in by_seed.values()]):.2f}",
                " ".join(f"{value:.2f}" for value in mious),
                _signed(above_baseline(scores, name), ""),
                *(("", "") if paper is None else paper),
                _signed(_paper_above_baseline(name), ""),
                conditions.steps,
                conditions.start_steps,
                conditions.side,
                next(iter(by_seed.values())).phrases,
                f"{_mean([score.minutes for score in by_seed.values()]):.1f}",
                conditions.machine,
            ]
        )
    return text.getvalue()


def table_markdown(scores: Scores, starts: Mapping[int, Score], conditions: Conditions) -> str:
    """A table and what its numbers are."""
    lines = [
        "| row | mIoU: mean (lowest to highest) | above baseline | oIoU | paper: mIoU | above baseline | oIoU |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, by_seed in scores.items():
        mious = [score.miou for score in by_seed.values()]
        spread = f" ({min(mious):.1f} to {max(mious):.1f})" if len(mious) > 1 else " (one seed)"
        oiou = _mean([score.oiou for score in by_seed.values()])
        paper = ROWS[name].paper
        published = ("-", "-") if paper is None else tuple(f"{value:.2f}" for value in paper)
        lines.append(
            f"| {ROWS[name].label} | {_mean(mious):.1f}{spread} | {_signed(above_baseline(scores, name))} | {oiou:.1f} "
            f"| {published[0]} | {_signed(_paper_above_baseline(name))} | {published[1]} |"
        )
    phrases = next((score.phrases for by_seed in scores.values() for score in by_seed.values()), 0)
    minutes = [score.minutes for by_seed in (*scores.values(), starts) for score in by_seed.values()]
    reached = ", ".join(f"{score.miou:.1f}" for score in starts.values())
    lines += [
        "",
        f"Ours: the compact model on NWPU VHR-10, {phrases} validation phrases with a target, native protocol; "
        f"{_seeds(conditions)}, {conditions.side} px, {conditions.steps} steps for each row from a common start of "
        f"{conditions.start_steps} steps (mIoU {reached}); {sum(minutes):.0f} minutes of training on "
        f"{conditions.machine}. Differences to the baseline are means over the seeds that both have. "
        "`benchmarks/ablation_rows.py` says what a row is.",
        "",
        "Paper: RS2-SAM 2 (arXiv 2503.07266), Tables 3 and 4, RefSegRS test set.",
        "",
    ]
    return "\n".join(lines)


def draw(scores: Scores, conditions: Conditions) -> bytes:
    """A PNG: a bar of mIoU for each row, ours with a mark for each seed on the left, the paper's on the right."""
    bottom = _LINE * len(scores) + 26
    drawing = Drawing("Ablations of RS2-SAM 2: mIoU in %", _LABELS + 2 * _PANEL + _GAP + _MARGIN, bottom + 30)
    ours = f"ours: NWPU VHR-10, {conditions.side} px, {conditions.steps} steps, {_seeds(conditions)}"
    own = {name: [score.miou for score in by_seed.values()] for name, by_seed in scores.items()}
    published = {name: [paper[0]] for name in scores if (paper := ROWS[name].paper) is not None}
    for number, name in enumerate(scores):
        drawing.text(_LABELS - 10, _middle(number) + 4, ROWS[name].label, anchor="end", style="name")
    _panel(drawing, _LABELS, ours, list(scores), own, "bar c0", bottom)
    _panel(drawing, _LABELS + _PANEL + _GAP, "paper: RefSegRS test", list(scores), published, "bar c1", bottom)
    return drawing.png()


def _panel(
    drawing: Drawing,
    left: float,
    title: str,
    names: Sequence[str],
    values: Mapping[str, Sequence[float]],
    style: str,
    bottom: float,
) -> None:
    high = 1.15 * max((max(each) for each in values.values()), default=1.0) or 1.0

    def x(value: float) -> float:
        return left + _PANEL * value / high

    drawing.text(left, 10, title, style="name")
    for value in round_numbers(0, high):
        drawing.line(x(value), 22, x(value), bottom)
        drawing.text(x(value), bottom + 18, f"{value:g}", anchor="middle")
    for number, name in enumerate(names):
        middle = _middle(number)
        if name not in values:
            drawing.text(left + 6, middle + 4, "not in the paper")
            continue
        mean = _mean(values[name])
        drawing.bar(left, middle - 9, x(mean) - left, 18, f"{mean:.2f}", style)
        if len(values[name]) > 1:
            drawing.line(x(min(values[name])), middle, x(max(values[name])), middle, "axis")
            for value in values[name]:
                drawing.line(x(value), middle - 5, x(value), middle + 5, "axis")
        drawing.text(x(max(values[name])) + 6, middle + 4, f"{mean:.1f}")
    drawing.line(left, 22, left, bottom, "axis")


def above_baseline(scores: Scores, name: str) -> float | None:
    """Mean difference of mIoU over the seeds that the row and the baseline have; None without any."""
    baseline = scores.get("baseline", {})
    both = [score.miou - baseline[seed].miou for seed, score in scores[name].items() if seed in baseline]
    return _mean(both) if both and name != "baseline" else None


def _paper_above_baseline(name: str) -> float | None:
    paper, baseline = ROWS[name].paper, ROWS["baseline"].paper
    return None if paper is None or baseline is None or name == "baseline" else paper[0] - baseline[0]


def _signed(value: float | None, missing: str = "-") -> str:
    return missing if value is None else f"{value:+.2f}"


def _seeds(conditions: Conditions) -> str:
    return "1 seed" if conditions.seeds == 1 else f"{conditions.seeds} seeds"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _middle(number: int) -> float:
    return 26 + _LINE * (number + 0.5)
