"""Two evaluations side by side, as one page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from refersat.evaluation.page import charts, tables
from refersat.output import write_file
from refersat.page import text
from refersat.page.layout import Section, caution, page
from refersat.page.markup import Child, Html, join, tag

if TYPE_CHECKING:
    from refersat.evaluation.compare import Comparison, Flip, Measure

_LESS_IS_BETTER = frozenset({"false_positive_area"})
_SIGNIFICANT = 0.05
_MOST_FLIPS = 100  # of each direction; the strongest come first


def write_compare_page(path: Path, comparison: Comparison) -> None:
    """Write the comparison of two evaluations.

    Raises:
        UserError: the folder does not exist or cannot be written to.
    """
    write_file(path, compare_page(comparison).encode())


def compare_page(comparison: Comparison) -> str:
    """The comparison as HTML."""
    sections = [_differences(comparison), _by_type(comparison), _flips(comparison)]
    title = f"{comparison.b} against {comparison.a}"
    return page(title, _head(comparison), [section for section in sections if section is not None])


def _head(comparison: Comparison) -> Html:
    facts = (
        f"protocol {comparison.protocol}",
        f"{text.count(comparison.count)} phrases with a target",
        f"{text.count(comparison.images)} images",
    )
    alone = [
        f"{text.count(count)} samples are in {name} only"
        for name, count in ((comparison.a, comparison.only_a), (comparison.b, comparison.only_b))
        if count
    ]
    return join(
        tag("p", "Comparison of two evaluations", class_="kicker"),
        tag("h1", tag("bdi", comparison.b), tag("span", " against ", class_="on"), tag("bdi", comparison.a)),
        tag("p", *(tag("span", fact) for fact in facts), class_="chips"),
        tag("p", *_result(comparison), class_="result") if comparison.count else None,
        caution(f"{' and '.join(alone)}; they are left out here.") if alone else None,
    )


def _result(comparison: Comparison) -> list[Child]:
    """The main outcome in a sentence, said with no more certainty than interval and p-value allow."""
    measure = comparison.measures[0]
    verdict = _verdict(measure)
    outcome = f"{abs(measure.difference):.2f} points of {measure.name} {verdict}"
    said = "not clearly different" if verdict == "unclear" else tag("b", outcome, class_=verdict)
    how_sure = f" ({measure.name} {text.signed(measure.difference)}, 95 % interval {_interval(measure)}, p "
    return [tag("bdi", comparison.b), " is ", said, how_sure, text.p_value(measure.p_value), ")."]


def _verdict(measure: Measure) -> str:
    """Whether b is "better" or "worse"; "unclear" where the interval holds zero or chance alone may well do it."""
    if measure.interval is None or measure.p_value is None or measure.p_value >= _SIGNIFICANT:
        return "unclear"
    low, high = measure.interval
    if low <= 0 <= high:
        return "unclear"
    return "better" if (low > 0) == (measure.name not in _LESS_IS_BETTER) else "worse"


def _differences(comparison: Comparison) -> Section:
    lead = (
        f"Both evaluations saw the same samples, so they are compared in pairs. A difference above zero means that "
        f"{comparison.b} has more. Its 95 % interval is from a bootstrap over images, its p-value from a permutation "
        "test; in percent. Coloured is what is clear: an interval without zero and p below 0.05."
    )
    measures = comparison.measures
    return Section(
        "differences",
        "Differences",
        lead,
        _table(comparison, [((m.name.replace("_", " "),), m) for m in measures], ("",)),
    )


def _by_type(comparison: Comparison) -> Section | None:
    if not comparison.by_type:
        return None
    lead = "mIoU. The more types there are, the more of them differ by chance alone: read a single p-value with care."
    rows = [((tag("bdi", g.name), text.count(g.count)), g.measure) for g in comparison.by_type]
    return Section("types", "By type of phrase", lead, _table(comparison, rows, ("", "samples")))


def _flips(comparison: Comparison) -> Section:
    won, lost = comparison.won, comparison.lost
    lead = (
        f"IoU crosses 0.5 in {text.count(len(won) + len(lost))} of {text.count(comparison.count)} samples. "
        f"The ring is {comparison.a}, the dot {comparison.b}."
    )
    blocks = (
        _flip_table(comparison, f"Found by {comparison.b} only", won),
        _flip_table(comparison, f"Found by {comparison.a} only", lost),
    )
    return Section("flips", "Samples that flipped", lead, join(*blocks))


def _table(comparison: Comparison, rows: Iterable[tuple[Sequence[Child], Measure]], heads: Sequence[str]) -> Html:
    """A row for each measure, after the cells that name it; all differences are drawn to one scale."""
    members = list(rows)
    reach = max([1.0, *(_extent(measure) for _, measure in members)])
    made = []
    for (name, *others), measure in members:
        title = join(name, tag("small", "less is better")) if measure.name in _LESS_IS_BETTER else name
        strip = charts.interval_strip(measure.difference, measure.interval, reach=reach, verdict=_verdict(measure))
        made.append(
            tables.row(
                title,
                *tables.numbers(
                    *others,
                    text.percent(measure.a),
                    text.percent(measure.b),
                    tag("b", text.signed(measure.difference)),
                    _interval(measure),
                    strip,
                    text.p_value(measure.p_value),
                ),
            )
        )
    names = (tag("bdi", comparison.a), tag("bdi", comparison.b))
    return tables.table((*heads, *names, "difference", "95 % interval", "", "p-value"), made, class_="compared")


def _interval(measure: Measure) -> str:
    if measure.interval is None:
        return text.NONE
    low, high = measure.interval
    return f"{text.signed(low)} to {text.signed(high)}"


def _extent(measure: Measure) -> float:
    return max(abs(measure.difference), *(abs(bound) for bound in measure.interval or (0.0,)))


def _flip_table(comparison: Comparison, title: str, flips: Sequence[Flip]) -> Html:
    shown = flips[:_MOST_FLIPS]
    rows = [
        tables.row(
            tag("bdi", flip.phrase),
            tables.words(tag("bdi", flip.type)),
            tables.words(tag("bdi", flip.id)),
            *tables.numbers(f"{flip.iou_a:.2f}", f"{flip.iou_b:.2f}", charts.shift_strip(flip.iou_a, flip.iou_b)),
        )
        for flip in shown
    ]
    left = len(flips) - len(shown)
    heads = ("phrase", "type", "sample", *(tag("bdi", f"IoU {name}") for name in (comparison.a, comparison.b)), "")
    return tag(
        "div",
        tag("h3", f"{title}: {text.count(len(flips))}"),
        tables.table(heads, rows, class_="flips") if rows else None,
        tag("p", f"and {text.count(left)} more with smaller differences", class_="note") if left else None,
        class_="block",
    )
