"""Building HTML and SVG from Python so that text can never become markup: strings are escaped, only `Html` is not."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import TypeAlias


class Html(str):
    """Markup that may stand in a page as it is."""

    __slots__ = ()


Child: TypeAlias = "str | Iterable[Child] | None"
Attribute: TypeAlias = str | int | float | None  # bool among the ints

_VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta"})
# What XML 1.0 cannot hold, escaped or not: most control characters and lone surrogates.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def escape(text: str) -> Html:
    """Text as markup that shows this text, in content and in attributes; what no page can hold becomes U+FFFD."""
    if isinstance(text, Html):
        return text
    return Html(html.escape(_FORBIDDEN.sub("�", text), quote=True))


def join(*children: Child) -> Html:
    """Children one after the other: strings escaped, `Html` as it is, None left out, iterables in their order."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        parts.append(escape(child) if isinstance(child, str) else join(*child))
    return Html("".join(parts))


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """An element, also well-formed as XML.

    In attribute names a last underscore is dropped and others become hyphens (`class_`, `stroke_width`); an attribute
    that is None or False is left out, True gives one that equals its name.
    """
    head = name
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        text = label if value is True else f"{value:g}" if isinstance(value, float) else str(value)
        head += f' {label}="{escape(text)}"'
    if name in _VOID:
        assert not children, f"<{name}> has no content"
        return Html(f"<{head}/>")
    return Html(f"<{head}>{join(*children)}</{name}>")


def document(title: str, style: str, *body: Child) -> str:
    """A whole page that needs nothing but itself: no script, no network (the policy in its head forbids both)."""
    assert not set("<&") & set(style), "a style sheet stands in the page as it is"
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(style)),
    )
    return f'<!DOCTYPE html>\n<html lang="en">{head}{tag("body", *body)}</html>\n'
