"""Writes docs/reference/recipes.md from the typed recipe itself: python docs/recipes_page.py.

A test sees that the page is what this script writes, so no field can be missing and no default be old.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from refersat.training.recipe import Drop, OutlineData, PartOptions, Parts, Recipe, SampleData, Span, Stage
from refersat.training.recipe_faults import section_of
from refersat.training.recipe_files import shipped_recipes

PAGE = Path(__file__).parent / "reference" / "recipes.md"

INTRODUCTION = """\
# Recipes

<!-- Written by docs/recipes_page.py from src/refersat/training/recipe.py: change those. -->

A recipe is a YAML file with everything that decides a training run. `refersat train RECIPE` takes a file, or the name
of one that ships:

{shipped}

A field that is not given has its default; one that does not exist is an error that names it.

```console
$ refersat train own-triplets --set data.train=triplets:my-data --print-recipe    # every field, as JSON
$ refersat train own-triplets --set data.train=triplets:my-data --set optimizer.learning_rate=1e-4 \\
    --set "stages=[{{epochs: 5, image_size: 384, batch_size: 8}}]"
```

`--set FIELD=VALUE` changes one field of the recipe; VALUE is YAML. Where a length is asked for, a plain number counts
steps, and `{{epochs: 2}}` passes through the samples. Sizes are in pixels, shares from 0 to 1, weights of loss terms
relative to each other. How to use recipes is told in [train your own](../how-to/train-your-own.md).
"""

MEANINGS = {
    "Recipe.seed": "of all that is random: views, phrases, first weights",
    "Recipe.data": "what is trained on and measured: one of the two kinds below",
    "Recipe.init": "where weights come from",
    "Recipe.augment": "random views of images with outlined objects",
    "Recipe.loss": "weights of the loss terms",
    "Recipe.parts": "what trains, and how fast",
    "Recipe.stages": "the schedule: one after the other",
    "Recipe.optimizer": "how weights are moved",
    "Recipe.validate_every": "length between two measurements of the model; the end is always measured",
    "OutlineData.kind": "may be left out",
    "SampleData.kind": "may be left out where `train` is given",
    "LossOptions.cross_entropy": "of the mask, background 0.9 to foreground 1.1",
    "LossOptions.dice": "of the mask, where the target is there",
    "LossOptions.boundary": "of the mask's edges, scaled by the phrase",
    "Span.steps": "length in steps; this or `epochs`",
    "Stage.steps": "length in steps; this or `epochs`",
    "Drop.steps": "length in steps; this or `epochs`",
    "Stage.image_size": "side of the views in pixels",
    "Drop.factor": "of the rate",
    "OptimizerOptions.learning_rate": "of parts that have none of their own",
}
"""Where the field itself is not described: class and field -> what it is."""


def page() -> str:
    """The whole page."""
    shipped = (f"- [`{name}`](../../src/refersat/recipes/{name}.yaml)" for name in shipped_recipes())
    parts = [INTRODUCTION.format(shipped="\n".join(shipped))]
    for title, section in sections():
        parts.append(f"## {title}\n\n{told_about(section)}{table(section)}")
    meanings = {name: field.description for name, field in Parts.model_fields.items()}
    names = "\n".join(f"- `{name}`" + (f": {meaning}" if meaning else "") for name, meaning in meanings.items())
    parts.append(f"### Parts\n\n{names}\n")
    return "\n".join(parts)


def sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Titles and what they are about, in the order of the page."""
    yield "The recipe", Recipe
    yield "`data`, images with phrases and masks", SampleData
    yield "`data`, images with outlined objects", OutlineData
    for name, field in Recipe.model_fields.items():
        section = section_of(field.annotation)
        if name == "stages":
            yield "`stages`, a list of", Stage
        elif section is Parts:
            yield "`parts`, for each part of the model", PartOptions
        elif section is not None and section is not Span:
            yield f"`{name}`", section
            if name == "optimizer":
                yield "`optimizer.drop`", Drop


def told_about(section: type[BaseModel]) -> str:
    """Its docstring, as a paragraph."""
    text = (section.__doc__ or "").strip().partition("\n\n")
    return " ".join(f"{text[0]} {text[2]}".split()) + "\n\n"


def table(section: type[BaseModel]) -> str:
    """A row for each field."""
    lines = ["| field | value | default | what it is |", "|---|---|---|---|"]
    for name, field in section.model_fields.items():
        meaning = field.description or MEANINGS[f"{section.__name__}.{name}"]
        cells = (f"`{name}`", kind_of(field), default_of(field), meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def kind_of(field: FieldInfo) -> str:
    """What may be written: "number > 0"."""
    bounds = [
        f"{sign} {getattr(limit, attribute):g}"
        for limit in field.metadata
        for attribute, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<="), ("multiple_of", "a multiple of"))
        if getattr(limit, attribute, None) is not None
    ]
    kind = _kind(field.annotation)
    null = ", null" if kind.endswith(", null") else ""
    return " ".join([kind.removesuffix(", null"), *([", ".join(bounds)] if bounds else [])]) + null


def _kind(annotation: Any) -> str:
    names = {int: "integer", float: "number", bool: "true, false", str: "text", Path: "path", type(None): "null"}
    if annotation in names:
        return names[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin is list:
        return "list" if section_of(arguments[0]) is not None else f"list of {_kind(arguments[0])}"
    if origin is dict:
        return "settings"
    if origin in (Union, types.UnionType):
        without = [each for each in arguments if each is not type(None)]
        null = ", null" if type(None) in arguments else ""
        return (_kind(without[0]) if len(without) == 1 else "section") + null
    if isinstance(annotation, type) and issubclass(annotation, Span) and annotation is Span:
        return "length"
    if hasattr(annotation, "__metadata__"):  # Annotated
        return _kind(annotation.__origin__)
    return "section"


def default_of(field: FieldInfo) -> str:
    """As one would write it in a recipe."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Span) and type(value) is Span:
        return f"`{value.steps}`" if value.steps is not None else f"`{{epochs: {value.epochs:g}}}`"
    if isinstance(value, BaseModel):
        return "see below"
    written = yaml.safe_dump(value, default_flow_style=True).replace("\n...\n", "").strip()
    return f"`{written}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)
