"""Tables of numbers with small bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from refersat.page import text
from refersat.page.markup import Child, Html, tag

_COLUMNS = ("oIoU", "Pr@0.5", "Pr@0.9")


def table(heads: Sequence[Child], rows: Sequence[Html], *, class_: str | None = None) -> Html:
    """A table of finished rows (`<tr>`), which scrolls sideways where the screen is too narrow for it."""
    head = tag("thead", tag("tr", *(tag("th", item, scope="col") for item in heads)))
    return tag("div", tag("table", head, tag("tbody", *rows), class_=class_), class_="scroll")


def row(name: Child, *cells: Html, class_: str | None = None) -> Html:
    """A row: its name, then finished cells (`<td>`)."""
    return tag("tr", tag("th", name, scope="row"), *cells, class_=class_)


def numbers(*contents: Child) -> list[Html]:
    """Cells of numbers, to the right."""
    return [tag("td", content, class_="number") for content in contents]


def words(content: Child) -> Html:
    """A cell of text."""
    return tag("td", content, class_="words")


def bar(value: float | None, interval: Sequence[float] | None = None) -> Html:
    """The cell of a percentage: the number, a bar of its length, and over it the line of its interval."""
    if value is None:
        return tag("td", tag("div", tag("span", text.NONE, class_="value"), class_="bar-cell"), class_="bar")
    parts = [tag("span", class_="fill", style=f"width:{_held(value):.1f}%")]
    if interval is not None:
        low, high = _held(interval[0]), _held(interval[1])
        parts.append(tag("span", class_="whisker", style=f"left:{low:.1f}%;width:{high - low:.1f}%"))
    title = None if interval is None else f"95 % interval {interval[0]:.2f} to {interval[1]:.2f}"
    return tag(
        "td",
        tag(
            "div",
            tag("span", text.percent(value), class_="value"),
            tag("span", *parts, class_="track"),
            class_="bar-cell",
            title=title,
        ),
        class_="bar",
    )


def breakdown(title: str, groups: Mapping[str, Mapping[str, Any]], *, note: str = "", ordered: bool = False) -> Html:
    """The measures of each group, the best first unless the groups have an order of their own."""
    names = list(groups) if ordered else sorted(groups, key=lambda name: -(groups[name].get("mIoU") or 0.0))
    rows = [
        row(
            tag("bdi", name),
            *numbers(text.count(groups[name]["count"])),
            bar(groups[name].get("mIoU"), interval_of(groups[name], "mIoU")),
            *numbers(*(text.percent(groups[name].get(column)) for column in _COLUMNS)),
        )
        for name in names
    ]
    heads = ("", "samples", "mIoU", *_COLUMNS)
    return tag(
        "div",
        tag("h3", title),
        tag("p", note, class_="note") if note else None,
        table(heads, rows, class_="breakdown"),
        class_="block",
    )


def interval_of(numbers: Mapping[str, Any], measure: str) -> tuple[float, float] | None:
    """The 95 % interval of a measure, if it was computed."""
    found = (numbers.get("intervals") or {}).get(measure)
    return None if found is None else (float(found[0]), float(found[1]))


def facts(title: str, items: Mapping[str, Any]) -> Html:
    """Names and values, one below the other; nested mappings one level down."""
    lines: list[Html] = []
    for name, value in items.items():
        if isinstance(value, Mapping):
            lines += [_fact(f"{name}: {inner}", content) for inner, content in value.items()]
        else:
            lines.append(_fact(name, value))
    return tag("div", tag("h3", title), tag("dl", *lines), class_="block")


def _fact(name: str, value: Any) -> Html:
    return tag("div", tag("dt", name.replace("_", " ")), tag("dd", tag("bdi", text.plain(value))))


def _held(value: float) -> float:
    return min(max(value, 0.0), 100.0)
