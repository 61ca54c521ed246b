"""What is wrong with a recipe, in words for people who write one: pydantic's errors, and the fields that there are."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from refersat.training.recipe import OutlineData, Recipe, SampleData, Span

_DATA: dict[str, tuple[type[BaseModel], str]] = {
    "outlines": (OutlineData, "data.annotations"),
    "samples": (SampleData, "data.train"),
}
"""What pydantic puts into the place of an error below `data`, which is no field; what it stands for, and its mark."""


def faults(error: ValidationError) -> str:
    """All that a recipe was refused for: each field and what is wrong with it."""
    return "; ".join(_fault(each) for each in error.errors())


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The one section in a field's annotation; None where there is none, or several."""
    found = [each for each in (annotation, *get_args(annotation)) if isinstance(each, type)]
    found = [each for each in found if issubclass(each, BaseModel)]
    return found[0] if len(found) == 1 else None


def _fault(error: ErrorDetails) -> str:
    place = list(error["loc"])
    field = ".".join(str(part) for number, part in enumerate(place) if not _is_kind(place, number))
    return ": ".join(part for part in (field, _message(error, place)) if part)


def _is_kind(place: Sequence[int | str], number: int) -> bool:
    return number == 1 and place[0] == "data" and place[1] in _DATA


def _message(error: ErrorDetails, place: Sequence[int | str]) -> str:
    match error["type"]:
        case "extra_forbidden":
            return _no_such_field(place)
        case "missing":
            return "is required: give it in the recipe, or with --set FIELD=VALUE"
        case "model_type" | "model_attributes_type":
            section = _section_at(place)
            if section is Span:
                return "takes a number of steps, or {epochs: 2}"
            if section is not None:
                return f"has fields of its own: {', '.join(section.model_fields)}"
        case "string_pattern_mismatch":
            return "takes letters, digits, dots, - and _ only"
    return error["msg"].removeprefix("Value error, ")


def _no_such_field(place: Sequence[int | str]) -> str:
    *above, name = place
    if len(above) == 2 and _is_kind(above, 1):
        for kind, (other, mark) in _DATA.items():
            if kind != above[1] and name in other.model_fields:
                return f"only goes with {mark}"
    section = _section_at(above)
    fields = [] if section is None else list(section.model_fields)
    close = get_close_matches(str(name), fields, n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(fields)}" if fields else ""
    return f"there is no such field{hint}"


def _section_at(place: Sequence[int | str]) -> type[BaseModel] | None:
    """The section that stands at a place of a recipe."""
    section: type[BaseModel] | None = Recipe
    for number, part in enumerate(place):
        if section is None:
            return None
        if _is_kind(place, number):
            section = _DATA[str(part)][0]
        elif isinstance(part, str) and part in section.model_fields:
            inner = section_of(section.model_fields[part].annotation)
            # Which of the two kinds `data` is comes next.
            section = section if inner is None and part == "data" else inner
    return section
