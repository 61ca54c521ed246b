"""The report of one evaluation, as one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat.evaluation.page import curves, gallery, headline, tables
from refersat.evaluation.page.summary import Answers
from refersat.output import write_file
from refersat.page import text
from refersat.page.layout import Section, page
from refersat.page.markup import Html, join, tag

if TYPE_CHECKING:
    from refersat.evaluation.cases import Case, Cases
    from refersat.evaluation.rows import SampleRow

_GALLERIES = (
    ("best", "Best", "The highest IoU."),
    ("worst", "Worst", "The lowest IoU."),
    ("random", "Random", "Drawn by lot: what to expect."),
    ("false_alarms", "False alarms", "Phrases that name nothing, for which most of the image was painted."),
)


def write_page(path: Path, *, metrics: Mapping[str, Any], rows: Sequence[SampleRow], cases: Cases) -> None:
    """Write the report of a run.

    Args:
        path: the page, for example OUT/report.html.
        metrics: what `metrics.json` holds.
        rows: every sample.
        cases: the samples that are shown.

    Raises:
        UserError: the folder does not exist or cannot be written to.
    """
    write_file(path, report_page(metrics, rows, cases).encode())


def report_page(metrics: Mapping[str, Any], rows: Sequence[SampleRow], cases: Cases) -> str:
    """The report as HTML."""
    protocol = next(iter(metrics["protocols"]))
    answers = Answers.of(rows, protocol)
    sections = [
        headline.headline(metrics),
        headline.published(metrics),
        headline.breakdowns(metrics),
        curves.spread(answers, protocol),
        curves.presence(metrics, answers),
        curves.calibration(metrics),
        _cases(cases, protocol),
        _provenance(metrics),
    ]
    model, data = metrics["model"]["name"], metrics["data"]["source"]
    title = f"{model} on {data}"
    return page(title, _head(metrics, answers), [section for section in sections if section is not None])


def _head(metrics: Mapping[str, Any], answers: Answers) -> Html:
    data = metrics["data"]
    facts = [f"split {data['split']}", f"{text.count(int(answers.ious.size))} phrases with a target"]
    if answers.absent.size:
        facts.append(f"{text.count(int(answers.absent.size))} phrases that name nothing")
    if data.get("limit") is not None:
        facts.append(f"only the first {text.count(data['limit'])} of {text.count(data['samples'])} samples")
    return join(
        tag("p", "Evaluation of referring segmentation", class_="kicker"),
        tag("h1", tag("bdi", metrics["model"]["name"]), tag("span", " on ", class_="on"), tag("bdi", data["source"])),
        tag("p", *(tag("span", fact) for fact in facts), class_="chips"),
    )


def _cases(cases: Cases, protocol: str) -> Section | None:
    groups: list[tuple[str, str, Sequence[Case]]] = [
        (title, note, getattr(cases, key)) for key, title, note in _GALLERIES
    ]
    blocks = [
        tag("div", tag("h3", title), tag("p", note, class_="note"), gallery.gallery(members), class_="block")
        for title, note, members in groups
        if members
    ]
    if not blocks:
        return None
    return Section("cases", "Cases", f"Single samples, protocol “{protocol}”.", join(gallery.legend(), *blocks))


def _provenance(metrics: Mapping[str, Any]) -> Section:
    parts = {"Model": "model", "Data": "data", "Run": "run", "Intervals": "confidence", "Time": "time"}
    known = {title: metrics[key] for title, key in parts.items() if metrics.get(key)}
    sets = metrics["data"].get("sets", ())
    known["Data"] = {name: value for name, value in metrics["data"].items() if name != "sets"}
    blocks = [tables.facts(title, values) for title, values in known.items()]
    if len(sets) > 1:
        blocks += [tables.facts(f"Data: {values['name']}", values) for values in sets]
    rules = metrics.get("rules")
    return Section(
        "provenance",
        "Where this comes from",
        "Enough to run it again. All numbers are in metrics.json, each sample is in per_sample.csv, beside this page.",
        join(
            tag("div", *blocks, class_="blocks origin"),
            tables.facts("Rules of counting", rules) if rules else None,
        ),
    )
