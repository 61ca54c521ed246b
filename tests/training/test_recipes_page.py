"""docs/reference/recipes.md tells of every field of a recipe, as it is."""

from __future__ import annotations

import re

import recipes_page
from pydantic import BaseModel

from refersat.training.recipe import Parts, Recipe, Span


def sections_in(section: type[BaseModel]) -> set[type[BaseModel]]:
    """The section and all below it, found by the schema that pydantic makes, not by the page's own way."""
    schema = section.model_json_schema()
    names = set(schema.get("$defs", {})) | {section.__name__}
    return {each for each in _subclasses(BaseModel) if each.__name__ in names and each.__module__ == section.__module__}


def _subclasses(kind: type) -> set[type]:
    return set(kind.__subclasses__()).union(*(_subclasses(each) for each in kind.__subclasses__()))


def test_page_is_what_the_fields_say() -> None:
    assert recipes_page.PAGE.read_text(encoding="utf-8") == recipes_page.page(), "run python docs/recipes_page.py"


def test_every_field_of_every_section_has_a_line() -> None:
    told = {section for _, section in recipes_page.sections()}
    assert told == sections_in(Recipe) - {Span, Parts}
    text = recipes_page.page()
    for section in told:
        for name in section.model_fields:
            line = re.search(rf"^\| `{name}` \|.*\|$", text, re.MULTILINE)
            assert line, f"{section.__name__}.{name}"
    assert all(f"- `{part}`" in text for part in Parts.model_fields)
