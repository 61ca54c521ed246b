"""The numbers of a run: headline, protocols side by side, the published table, and breakdowns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from refersat.evaluation.metrics import PRECISION_THRESHOLDS
from refersat.evaluation.page import tables
from refersat.evaluation.published_results import Benchmark, PublishedResult, benchmark_of
from refersat.page import text
from refersat.page.layout import Section, caution, tile, tiles
from refersat.page.markup import Html, join, tag

_MEASURES = ("mIoU", "oIoU", *(f"Pr@{threshold}" for threshold in PRECISION_THRESHOLDS))
_MEANING = {
    "mIoU": "mean overlap of a sample's answer with its truth",
    "oIoU": "overlap of all pixels together: large targets weigh more",
    "Pr@0.5": "share of samples with IoU of 0.5 or more",
    "Pr@0.9": "share of samples with IoU of 0.9 or more",
}
_BREAKDOWNS = (
    ("by_type", "By type of phrase", ""),
    ("by_size", "By size of target", "Share of the image's pixels that the target covers."),
    ("by_dataset", "By data set", ""),
    ("by_category", "By category", ""),
)


def headline(metrics: Mapping[str, Any]) -> Section:
    """The four measures that papers print, under the first protocol, and all measures under each protocol."""
    names = list(metrics["protocols"])
    first = metrics[names[0]]
    members = [
        tile(measure, first.get(measure), tables.interval_of(first, measure), meaning)
        for measure, meaning in _MEANING.items()
    ]
    rows = [
        tables.row(
            tag("span", name, title=metrics["protocols"][name]),
            *(_measure(metrics[name], measure) for measure in _MEASURES),
            *tables.numbers(text.count(metrics[name]["count"])),
        )
        for name in names
    ]
    definitions = [tag("li", tag("b", name), f": {metrics['protocols'][name]}") for name in names]
    lead = f"Over {text.count(first['count'])} phrases with a target, in percent, protocol “{names[0]}”"
    bounds = "; beside each number its 95 % interval (bootstrap over images)." if first.get("intervals") else "."
    return Section(
        "numbers",
        "Numbers",
        lead + bounds,
        join(
            tiles(*members),
            tag("h3", "Every protocol"),
            tables.table(("", *_MEASURES, "samples"), rows),
            tag("ul", *definitions, class_="definitions"),
        ),
    )


def published(metrics: Mapping[str, Any]) -> Section:
    """The run among the published results of its test split, or why there are none to compare with."""
    found = benchmark_of(metrics.get("data", {}))
    if isinstance(found, str):
        return Section("published", "Beside published results", "", caution(found))
    ours = [
        (metrics[name]["mIoU"] or 0.0, _own_row(f"{metrics['model']['name']}, this run", name, metrics[name]))
        for name in metrics["protocols"]
    ]
    theirs = [(result.miou, _published_row(result)) for result in found.results]
    rows = [made for _, made in sorted(ours + theirs, key=lambda pair: -pair[0])]
    heads = ("method", "mIoU", "oIoU", "Pr@0.5", "Pr@0.9", "compared on", "source and caveats")
    return Section(
        "published",
        "Beside published results",
        f"Test split of {found.name}, {text.count(found.samples)} phrases; published numbers were not measured here.",
        join(
            tables.table(heads, rows, class_="published"),
            tag("p", _protocol_caution(found), class_="note"),
        ),
    )


def breakdowns(metrics: Mapping[str, Any]) -> Section | None:
    """The measures by class of sample, under the first protocol; None where there is but one class of each kind."""
    name = next(iter(metrics["protocols"]))
    blocks = [
        tables.breakdown(title, metrics[name][key], note=note, ordered=key == "by_size")
        for key, title, note in _BREAKDOWNS
        if len(metrics[name].get(key, ())) > 1
    ]
    if not blocks:
        return None
    lead = f"Where it is good and where it is not, protocol “{name}”, in percent. Few samples mean wide intervals."
    return Section("breakdowns", "Breakdowns", lead, tag("div", *blocks, class_="blocks"))


def _measure(numbers: Mapping[str, Any], measure: str) -> Html:
    interval = tables.interval_of(numbers, measure)
    bounds = None if interval is None else tag("small", f"{interval[0]:.1f} to {interval[1]:.1f}")
    return tag("td", text.percent(numbers.get(measure)), bounds, class_="number")


def _own_row(name: str, protocol: str, numbers: Mapping[str, Any]) -> Html:
    return tables.row(
        tag("bdi", name),
        tables.bar(numbers["mIoU"], tables.interval_of(numbers, "mIoU")),
        *tables.numbers(*(text.percent(numbers[measure]) for measure in ("oIoU", "Pr@0.5", "Pr@0.9"))),
        tables.words(protocol),
        tables.words("measured here"),
        class_="own",
    )


def _published_row(result: PublishedResult) -> Html:
    method = result.method
    return tables.row(
        method.name,
        tables.bar(result.miou),
        *tables.numbers(*(text.percent(value) for value in (result.oiou, result.pr50, result.pr90))),
        tables.words(method.grid or "not known"),
        tables.words(join(method.source, tag("em", f"; {method.caveat}") if method.caveat else None)),
    )


def _protocol_caution(benchmark: Benchmark) -> str:
    return (
        "Papers differ in more than the model: the grid of the comparison (480, 1024 or the image's own pixels), how "
        "the checkpoint was chosen, and what an empty union counts. Differences of a point or two on "
        f"{benchmark.name} may come from these alone."
    )
