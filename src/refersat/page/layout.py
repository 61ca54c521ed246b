"""What all pages share: head, contents, sections, tiles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from refersat import __version__
from refersat.page import text
from refersat.page.markup import Child, Html, document, tag


@dataclass(frozen=True)
class Section:
    """A part of a page: `key` is its anchor, `lead` says in a sentence what is seen."""

    key: str
    title: str
    lead: str
    content: Html


def page(title: str, head: Html, sections: Sequence[Section]) -> str:
    """The whole page: head, contents, sections, and who made it."""
    style = files("refersat.page").joinpath("page.css").read_text(encoding="utf-8")
    links = [tag("a", section.title, href=f"#{section.key}") for section in sections]
    parts = [
        tag(
            "section",
            tag("h2", section.title),
            tag("p", section.lead, class_="lead") if section.lead else None,
            section.content,
            id=section.key,
        )
        for section in sections
    ]
    foot = tag("footer", f"Made by refersat {__version__}.")
    return document(title, style, tag("header", head), tag("nav", *links), tag("main", *parts), foot)


def tile(name: str, value: float | None, interval: tuple[float, float] | None, note: str) -> Html:
    """A headline number in percent, its 95 % interval in words and as a line from 0 to 100, and what it is."""
    parts = [
        tag("div", name, class_="label"),
        tag("div", text.percent(value, 1), class_="value"),
    ]
    if value is not None and interval is not None:
        low, high = interval
        span = tag("span", class_="span", style=f"left:{low:.1f}%;width:{max(high - low, 0.6):.1f}%")
        point = tag("span", class_="point", style=f"left:{min(max(value, 0), 100):.1f}%")
        parts.append(tag("div", f"{low:.1f} to {high:.1f}", class_="interval"))
        parts.append(tag("div", span, point, class_="ruler"))
    parts.append(tag("div", note, class_="note"))
    return tag("div", *parts, class_="tile")


def tiles(*members: Html) -> Html:
    """Tiles in a row."""
    return tag("div", *members, class_="tiles")


def figure(title: str, note: str, drawing: Html, *, keys: Sequence[str] = ()) -> Html:
    """A chart under its title; `keys` names its colours, in their order."""
    legend = [tag("span", tag("i", class_=f"key c{k}"), name) for k, name in enumerate(keys)]
    return tag(
        "figure",
        tag("h3", title),
        tag("p", note, class_="note") if note else None,
        tag("div", *legend, class_="keys") if legend else None,
        drawing,
        class_="figure",
    )


def caution(message: Child) -> Html:
    """Something the reader must not miss."""
    return tag("p", tag("strong", "Caution. "), message, class_="caution")
