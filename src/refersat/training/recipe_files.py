"""Reads recipes: a file, or one that ships with the package, with the changes of `--set`.

A typo is an error that names the field. The resolved recipe is saved beside the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from refersat.errors import UserError
from refersat.training.recipe import Recipe
from refersat.training.recipe_faults import faults


def load_recipe(source: str, overrides: Sequence[str]) -> Recipe:
    """Read a recipe file, or one that ships with the package by its name, and apply `a.b=c` overrides.

    Raises:
        UserError: no such recipe, or a field is unknown, missing or out of range.
    """
    content = _read(source)
    for override in overrides:
        _apply(content, override)
    return _validated(content, f"recipe {source}")


def changed_recipe(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with other values for some fields, `{"a.b": value}`; errors as in `load_recipe`."""
    content = recipe.model_dump(mode="json")
    for path, value in changes.items():
        _put(content, path, value, told=f"{path}={value}")
    return _validated(content, f"recipe {recipe.name}")


def shipped_recipes() -> list[str]:
    """Names of the recipes in the package."""
    folder = resources.files("refersat") / "recipes"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def _read(source: str) -> dict[str, Any]:
    if source in shipped_recipes():
        text = (resources.files("refersat") / "recipes" / f"{source}.yaml").read_text(encoding="utf-8")
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or error
            known = ", ".join(shipped_recipes())
            raise UserError(f"cannot read the recipe {source}: {reason}; these ship with refersat: {known}") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"recipe {source} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UserError(f"recipe {source} holds no fields")
    return content


def _apply(content: dict[str, Any], override: str) -> None:
    path, equals, value = override.partition("=")
    if not equals or not path:
        raise UserError(f"--set takes FIELD=VALUE (for example optimizer.learning_rate=1e-4), not {override!r}")
    try:
        _put(content, path, yaml.safe_load(value), told=f"--set {override}")
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not valid YAML: {' '.join(str(error).split())}") from None


def _put(content: dict[str, Any], path: str, value: Any, *, told: str) -> None:
    *parents, last = path.split(".")
    section = content
    for parent in parents:
        if section.get(parent) is None:
            section[parent] = {}
        section = section[parent]
        if not isinstance(section, dict):
            raise UserError(f"{told}: {parent} has no named fields; set the whole of it")
    section[last] = value


def _validated(content: dict[str, Any], told: str) -> Recipe:
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{told}: {faults(error)}") from None
