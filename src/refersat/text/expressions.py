"""Referring expressions made from the geometry of a scene's objects.

Follows what is known to work for aerial images (Aerial-D's rules; the wordings of RRSIS-D, RISBench and RSVG-HR): a
phrase is kept only when it fits exactly its targets. It needs no pixels, so a training loop can call it on each cropped
and flipped image.

Example:
    >>> import numpy as np
    >>> ships = [((10, 10, 30, 30), (20, 20), 400), ((80, 70, 99, 99), (90, 85), 600)]
    >>> scene = [SceneObject("ship", *geometry) for geometry in ships]
    >>> found = sample_expressions(scene, 100, 100, np.random.default_rng(0), count=3)
    >>> all(set(e.targets) <= {0, 1} and e.targets for e in found)
    True
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING

from refersat.text.grammar import Grammar
from refersat.text.meaning import KINDS, Kind, Meaning
from refersat.text.meanings import absent_candidates, absent_category, absent_places, present_meanings
from refersat.text.scene import DEFAULT_RULES, Rules, Scene, SceneObject

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "DEFAULT_COMPANIONS", "DEFAULT_WEIGHTS", "Expression", "Grammar", "Rules", "SceneObject", "generate_expressions",
    "sample_expressions",
]  # fmt: skip

DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType({
    "unique": 1.0, "group": 1.5, "position": 4.0, "extreme": 2.0, "size": 1.0, "relation": 1.5, "colour": 1.0,
    "absent-category": 1.2, "absent-position": 1.2,
})  # fmt: skip
_PLACE_WEIGHTS = {"cell": 1.0, "side": 1.0, "half": 0.4, "edge": 0.4, "quadrant": 0.4}

# What often stands beside a category without being labelled: no phrase says that it is absent there.
DEFAULT_COMPANIONS: Mapping[str, frozenset[str]] = MappingProxyType({
    "ship": frozenset({"harbor", "bridge"}),
    "harbor": frozenset({"ship", "bridge"}),
    "bridge": frozenset({"vehicle"}),
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Expression:
    """A phrase and what it names: ``targets`` are indices into the scene's objects, empty when it names nothing.

    ``heldout`` says that the phrase has a wording in it that the training style of the grammar never uses.
    """

    phrase: str
    kind: str
    targets: tuple[int, ...]
    category: str
    meaning: Meaning
    heldout: bool = False


def sample_expressions(
    objects: Sequence[SceneObject],
    width: float,
    height: float,
    rng: np.random.Generator,
    *,
    count: int,
    grammar: Grammar = Grammar(),  # noqa: B008 - immutable
    weights: Mapping[str, float] = DEFAULT_WEIGHTS,
    vocabulary: Sequence[str] = (),
    never_absent: frozenset[str] = frozenset(),
    companions: Mapping[str, frozenset[str]] = DEFAULT_COMPANIONS,
    context: Collection[str] = (),
    rules: Rules = DEFAULT_RULES,
) -> list[Expression]:
    """Draw expressions of a scene, balanced over the kinds it allows.

    Args:
        objects: the scene's objects, all that are labelled.
        width: of the image, pixels.
        height: of the image, pixels.
        rng: the only source of chance; the same state gives the same expressions.
        count: how many to draw; fewer come back only when nothing can be said at all.
        grammar: the wordings to use.
        weights: relative frequency of each kind; a kind left out or of weight 0 is never drawn.
        vocabulary: categories that phrases of kind "absent-category" may name; none without it.
        never_absent: categories of which it is never said that they are absent (incompletely labelled ones).
        companions: category -> categories beside which it is often there but unlabelled.
        context: where the scene is a crop, the categories of the whole image: companions need not be in the crop.
        rules: when a phrase counts as clear.

    Raises:
        ValueError: a weight is negative or of an unknown kind, or the image has no size.
    """
    _check_weights(weights)
    rnd = Random(int(rng.integers(2**63)))
    scene = Scene(objects, width, height, rules)
    found = present_meanings(scene, rnd)
    anchors = found.get("unique", [])
    if weights.get("absent-position"):
        # An incompletely labelled category may well be in an empty-looking part of the image.
        places = [m for m in absent_places(scene) if m.category not in never_absent]
        if places:
            found["absent-position"] = places
    absent = (
        absent_candidates(scene, vocabulary, never_absent, companions, context)
        if weights.get("absent-category")
        else []
    )
    pools = {kind: _by_category(meanings) for kind, meanings in found.items() if weights.get(kind)}
    kinds: list[Kind] = [kind for kind in KINDS if kind in pools or (kind == "absent-category" and absent)]
    if not kinds:
        return []
    drawn: list[Expression] = []
    said: set[str] = set()
    kind_weights = [weights[kind] for kind in kinds]
    for kind in rnd.choices(kinds, kind_weights, k=count):
        for _ in range(4):  # rather another phrase than the same one twice
            if kind == "absent-category":
                meaning = absent_category(rnd.choice(absent), anchors, rnd)
            else:
                meaning = _draw(rnd.choice(pools[kind]), rnd)
            phrase, heldout = grammar.phrase(meaning, rnd)
            if phrase not in said:
                break
        said.add(phrase)
        drawn.append(Expression(phrase, kind, meaning.targets, meaning.category, meaning, heldout))
    return drawn


def generate_expressions(
    objects: Sequence[SceneObject],
    width: float,
    height: float,
    rng: np.random.Generator,
    *,
    grammar: Grammar = Grammar(),  # noqa: B008 - immutable
    vocabulary: Sequence[str] = (),
    never_absent: frozenset[str] = frozenset(),
    companions: Mapping[str, frozenset[str]] = DEFAULT_COMPANIONS,
    context: Collection[str] = (),
    rules: Rules = DEFAULT_RULES,
) -> list[Expression]:
    """Everything that can be said of a scene, each meaning worded once.

    Arguments as for `sample_expressions`; each absent category of the vocabulary is named once.
    """
    rnd = Random(int(rng.integers(2**63)))
    scene = Scene(objects, width, height, rules)
    found = present_meanings(scene)
    meanings = [meaning for group in found.values() for meaning in group]
    meanings += [m for m in absent_places(scene) if m.category not in never_absent]
    meanings += [
        absent_category(category, found.get("unique", []), rnd)
        for category in absent_candidates(scene, vocabulary, never_absent, companions, context)
    ]
    expressions = []
    for meaning in meanings:
        phrase, heldout = grammar.phrase(meaning, rnd)
        expressions.append(Expression(phrase, meaning.kind, meaning.targets, meaning.category, meaning, heldout))
    return expressions


def _check_weights(weights: Mapping[str, float]) -> None:
    unknown = sorted(set(weights) - set(KINDS))
    if unknown:
        raise ValueError(f"unknown kinds of expression: {', '.join(unknown)}; known are {', '.join(KINDS)}")
    if any(weight < 0 for weight in weights.values()):
        raise ValueError("the weights of the kinds of expression must not be negative")


def _by_category(meanings: Sequence[Meaning]) -> list[tuple[list[Meaning], list[float]]]:
    """Per category its meanings and how often each is drawn."""
    groups: dict[str, tuple[list[Meaning], list[float]]] = {}
    for meaning in meanings:
        group, shares = groups.setdefault(meaning.category, ([], []))
        group.append(meaning)
        share = _PLACE_WEIGHTS[meaning.place.kind] if meaning.place else 1.5
        shares.append(share * (0.3 if meaning.rank > 1 else 1.0))
    return list(groups.values())


def _draw(group: tuple[list[Meaning], list[float]], rnd: Random) -> Meaning:
    return rnd.choices(group[0], group[1])[0]
