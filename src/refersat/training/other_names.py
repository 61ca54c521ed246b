"""Objects under names that the model is never taught: what such a phrase says of place and size still tells which.

People name more kinds of things than any set of outlines has. Of these a model can learn that the name is no help, and
that the rest of the phrase is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from refersat.text.corpus import BROADER_CATEGORIES, COLOURS, LOOKS
from refersat.text.nouns import category_of, is_substance
from refersat.text.scene import SceneObject

ALL_KINDS = 0.5
"""Of the views with other names, the share in which all objects go by one; else about half of the kinds keep theirs."""

DESCRIBED = 0.3
"""Share of other names with a word for looks or colour in front."""


@dataclass(frozen=True)
class OtherNames:
    """Objects of which some go by another name.

    Attributes:
        objects: in their order.
        name: the other name.
        hidden: the categories that go by it, and the name itself: nothing is said of their absence.
    """

    objects: Sequence[SceneObject]
    name: str
    hidden: frozenset[str]


def other_names(objects: Sequence[SceneObject], rng: np.random.Generator) -> OtherNames:
    """Let all objects, or those of some categories, go by one name that no category has."""
    kinds = sorted({item.category for item in objects})
    if rng.random() >= ALL_KINDS:
        kinds = [kind for kind in kinds if rng.random() < 0.5] or kinds
    name = str(rng.choice(_names()))
    if rng.random() < DESCRIBED:
        name = f"{rng.choice((*COLOURS, *LOOKS))} {name}"
    renamed = [replace(item, category=name) if item.category in kinds else item for item in objects]
    return OtherNames(renamed, name, frozenset((*kinds, name)))


def _names() -> list[str]:
    return [name for name in BROADER_CATEGORIES if category_of(name) == name and not is_substance(name)]
