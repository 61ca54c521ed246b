"""The charts of a run: how IoUs are spread, presence, calibration, and what another threshold would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from refersat.evaluation.page import charts, tables
from refersat.evaluation.page.charts import Axis, ReliabilityBin, Series
from refersat.evaluation.page.summary import Answers, calibration_error, histogram_bins, share_at_least
from refersat.page import text
from refersat.page.layout import Section, figure, tile, tiles
from refersat.page.markup import Html, join, tag


def spread(answers: Answers, protocol: str) -> Section | None:
    """How the IoUs of single samples are spread; None without samples that have a target."""
    if not answers.ious.size:
        return None
    missed = float(np.mean(answers.ious == 0))
    bars = charts.histogram(
        histogram_bins(answers.ious), names=["samples"], x=Axis("IoU", 0, 1), y_label="samples", label="IoU histogram"
    )
    curve = charts.line_chart(
        [Series("share", share_at_least(answers.ious))],
        x=Axis("IoU threshold t", 0, 1),
        y=Axis("share of samples", 0, 1, text.share),
        label="Share of samples with IoU of at least t",
    )
    return Section(
        "spread",
        "Spread of IoU",
        f"Protocol “{protocol}”. {100 * missed:.1f} % of the samples have IoU 0: the answer is elsewhere or empty.",
        _pair(
            figure("Histogram", "How many samples reach which IoU.", bars),
            figure("Pr@t for every t", "Share of samples with IoU of at least t.", curve),
        ),
    )


def presence(metrics: Mapping[str, Any], answers: Answers) -> Section | None:
    """Whether the model knows that a phrase names nothing; None where no phrase does."""
    numbers = metrics.get("presence", {})
    if not answers.absent.size:
        return None
    members = tiles(
        _presence_tile(numbers, "presence_auroc", "AUROC", "how often a phrase with a target scores above one without"),
        _presence_tile(
            numbers, "absent_accuracy", "Absent accuracy", "phrases that name nothing, answered with nothing"
        ),
        _presence_tile(numbers, "present_recall", "Present recall", "phrases with a target, answered with a mask"),
        _presence_tile(
            numbers,
            "false_positive_area",
            "False-positive area",
            "mean share of the image painted for a phrase that names nothing",
        ),
    )
    figures = [_scores(answers)]
    if answers.present.size:
        figures.append(_score_thresholds(answers))
    if bins := _bins(metrics, "presence_calibration"):
        figures.append(_score_reliability(bins))
    by_type = numbers.get("by_type") or {}
    return Section(
        "presence",
        "Presence",
        f"{text.count(int(answers.absent.size))} phrases name nothing in their image, "
        f"{text.count(int(answers.present.size))} name something; in percent.",
        join(members, _absent_types(by_type) if by_type else None, _pair(*figures)),
    )


def calibration(metrics: Mapping[str, Any]) -> Section | None:
    """Whether probabilities of pixels are true, and what another threshold would give; None if neither was counted."""
    curves = metrics.get("curves") or {}
    figures = []
    if curves.get("thresholds"):
        figures.append(_mask_thresholds(curves, metrics.get("run", {}).get("threshold")))
    if bins := _bins(metrics, "pixel_calibration"):
        note = f"Of the pixels that were given a probability, how many lie in the target.{_error(bins)}"
        drawing = charts.reliability_diagram(
            bins, x_label="probability of the pixel", y_label="share in the target", label="Reliability of pixels"
        )
        figures.append(figure("Are the probabilities true?", note, drawing))
    if not figures:
        return None
    lead = "Over the phrases with a target. A threshold chosen here would be chosen on the data it is judged on."
    return Section("calibration", "Calibration and threshold", lead, _pair(*figures))


def _presence_tile(numbers: Mapping[str, Any], key: str, name: str, note: str) -> Html:
    return tile(name, numbers.get(key), tables.interval_of(numbers, key), note)


def _absent_types(by_type: Mapping[str, Mapping[str, Any]]) -> Html:
    rows = [
        tables.row(
            tag("bdi", name),
            *tables.numbers(text.count(numbers["count_absent"])),
            tables.bar(numbers["absent_accuracy"], tables.interval_of(numbers, "absent_accuracy")),
            *tables.numbers(*(text.percent(numbers[key]) for key in ("presence_auroc", "false_positive_area"))),
        )
        for name, numbers in by_type.items()
    ]
    heads = ("", "samples", "absent accuracy", "AUROC", "false-positive area")
    return tag("div", tag("h3", "By kind of absence"), tables.table(heads, rows, class_="breakdown"), class_="block")


def _scores(answers: Answers) -> Html:
    names = ("names something", "names nothing")
    drawing = charts.histogram(
        histogram_bins(answers.present, answers.absent, bins=15),
        names=names,
        x=Axis("presence score", 0, 1),
        y_label="phrases",
        label="Presence scores",
    )
    return figure("Scores", "The further apart the two, the better the score tells them.", drawing, keys=names)


def _score_thresholds(answers: Answers) -> Html:
    names = ("phrases with a target kept", "phrases without one refused")
    kept = share_at_least(answers.present)
    refused = [(t, 1 - share) for t, share in share_at_least(answers.absent)]
    drawing = charts.line_chart(
        [Series(names[0], kept, 0), Series(names[1], refused, 1)],
        x=Axis("presence threshold", 0, 1),
        y=Axis("share of phrases", 0, 1, text.share),
        label="Presence by threshold",
    )
    return figure(
        "What a presence threshold gives", "If an answer counted only from this score on.", drawing, keys=names
    )


def _score_reliability(bins: Sequence[ReliabilityBin]) -> Html:
    drawing = charts.reliability_diagram(
        bins, x_label="presence score", y_label="share that names something", label="Reliability of the presence score"
    )
    note = f"On the diagonal a score of 0.8 is right 8 times in 10.{_error(bins)}"
    return figure("Is the score a probability?", note, drawing)


def _mask_thresholds(curves: Mapping[str, Any], threshold: float | None) -> Html:
    names = [name for name in ("mIoU", "oIoU", "Pr@0.5") if curves.get(name)]
    lines = [
        Series(name, list(zip(curves["thresholds"], curves[name], strict=True)), k) for k, name in enumerate(names)
    ]
    top = max((value for line in lines for _, value in line.points), default=0.0)
    drawing = charts.line_chart(
        lines,
        x=Axis("a pixel is foreground above this probability", 0, 1),
        y=Axis("percent", 0, min(100.0, max(10.0, top * 1.15))),
        label="mIoU and oIoU by threshold",
        mark=None if threshold is None else (threshold, f"used: {threshold:.3g}"),
    )
    return figure("What another threshold would give", "", drawing, keys=names)


def _bins(metrics: Mapping[str, Any], key: str) -> list[ReliabilityBin]:
    """The bins of a calibration in `metrics.json` that hold anything."""
    return [ReliabilityBin(**item) for item in (metrics.get("curves") or {}).get(key, ()) if item["count"]]


def _error(bins: Sequence[ReliabilityBin]) -> str:
    error = calibration_error(bins)
    return "" if error is None else f" Mean distance from the diagonal: {error:.3f}."


def _pair(*figures: Html) -> Html:
    return tag("div", *figures, class_="figures")
