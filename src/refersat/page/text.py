"""How numbers are written on the pages."""

from __future__ import annotations

from typing import Any

NONE = "\u2013"


def percent(value: float | None, digits: int = 2) -> str:
    """A number of `metrics.json`, which already is in percent."""
    return NONE if value is None else f"{value:.{digits}f}"


def share(value: float) -> str:
    """A share in 0..1 as percent, for axes."""
    return f"{100 * value:g} %"


def count(value: int) -> str:
    """A whole number."""
    return f"{value:,}"


def signed(value: float | None, digits: int = 2) -> str:
    """A difference, with a real minus sign."""
    return NONE if value is None else f"{value:+.{digits}f}".replace("-", "\u2212")


def p_value(value: float | None) -> str:
    """A p-value, no more exact than it deserves."""
    return NONE if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def plain(value: Any) -> str:
    """Whatever the provenance holds, on one line."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return " ".join(plain(item) for item in value)
    return str(value)
