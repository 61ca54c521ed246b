"""Every expression fits exactly its targets: checked by plain definitions, written apart from the generator's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.text.expressions import (
    DEFAULT_WEIGHTS,
    Grammar,
    Rules,
    SceneObject,
    generate_expressions,
    sample_expressions,
)
from refersat.text.meaning import Meaning, Place
from refersat.text.meanings import absent_places, present_meanings
from refersat.text.scene import Scene

# With these sides no whole number plus the offset lies on a line of the grid, so that flips decide alike.
WIDTH, HEIGHT, OFFSET = 997, 797, 0.13
CATEGORIES = ("ship", "bridge", "tennis court")
VOCABULARY = (*CATEGORIES, "airplane", "vehicle")


def make_object(
    category: str, x: float, y: float, width: float = 40, height: float = 30, colour: str | None = None
) -> SceneObject:
    x, y = x + OFFSET, y + OFFSET
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return SceneObject(category, box, (x, y), width * height, colour)


objects_strategy = st.builds(
    make_object,
    category=st.sampled_from(CATEGORIES),
    x=st.integers(50, WIDTH - 50),
    y=st.integers(50, HEIGHT - 50),
    width=st.integers(4, 98).map(float),
    height=st.integers(4, 98).map(float),
    colour=st.sampled_from((None, "white", "red")),
)
scenes = st.lists(objects_strategy, min_size=1, max_size=10)
seeds = st.integers(0, 2**32)


def flip(item: SceneObject) -> SceneObject:
    x0, y0, x1, y1 = item.box
    return replace(item, box=(WIDTH - x1, y0, WIDTH - x0, y1), centroid=(WIDTH - item.centroid[0], item.centroid[1]))


def region(place: Place, rules: Rules) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a place, fractions of the sides."""
    if place.kind == "cell":
        return place.column / 3, place.row / 3, (place.column + 1) / 3, (place.row + 1) / 3
    if place.kind == "quadrant":
        left, top = place.column / 4, place.row / 4
        return left, top, left + 0.5, top + 0.5
    depth = 0.5 if place.kind == "half" else 1 / 3
    return {
        "left": (0.0, 0.0, depth, 1.0),
        "right": (1 - depth, 0.0, 1.0, 1.0),
        "top": (0.0, 0.0, 1.0, depth),
        "bottom": (0.0, 1 - depth, 1.0, 1.0),
    }[place.side]


def centred_in(item: SceneObject, place: Place, margin: float, rules: Rules) -> bool:
    """Whether the centroid lies in the place, grown by a margin (shrunken by a negative one)."""
    left, top, right, bottom = region(place, rules)
    x, y = item.centroid[0] / WIDTH, item.centroid[1] / HEIGHT
    return left - margin <= x <= right + margin and top - margin <= y <= bottom + margin


def edge_gap(item: SceneObject, side: str) -> float:
    x0, y0, x1, y1 = item.box
    return {"left": x0 / WIDTH, "right": 1 - x1 / WIDTH, "top": y0 / HEIGHT, "bottom": 1 - y1 / HEIGHT}[side]


def check_place(objects: list[SceneObject], meaning: Meaning, rules: Rules) -> None:
    place = meaning.place
    assert place is not None
    band = rules.border / 2
    targets = set(meaning.targets)
    rest = [o for i, o in enumerate(objects) if o.category == meaning.category and i not in targets]
    named = [objects[i] for i in targets]
    if place.kind == "edge":
        assert all(edge_gap(o, place.side) <= rules.edge for o in named)
        assert all(edge_gap(o, place.side) > rules.edge_clear for o in rest)
        return
    assert all(centred_in(o, place, 0, rules) for o in named)
    if any(centred_in(o, place, band, rules) for o in rest):
        # Only "on the left" may have others near it: those in the corners, none in the middle of the left.
        assert place.kind == "side"
        assert len(named) == 1
        row, column = {"left": (1, 0), "right": (1, 2), "top": (0, 1), "bottom": (2, 1)}[place.side]
        middle = Place("cell", row, column)
        assert centred_in(named[0], middle, 0, rules)
        assert not any(centred_in(o, middle, band, rules) for o in rest)


def check_extreme(objects: list[SceneObject], meaning: Meaning, rules: Rules) -> None:
    target = objects[meaning.targets[0]]
    others = [o for i, o in enumerate(objects) if o.category == meaning.category and i != meaning.targets[0]]
    if meaning.extreme == "center":
        middle = (WIDTH / 2, HEIGHT / 2)
        own = math.dist(target.centroid, middle)
        assert all(math.dist(o.centroid, middle) > own for o in others)
        return
    assert meaning.extreme is not None
    axis, sign, side = {
        "left": (0, 1, WIDTH),
        "right": (0, -1, WIDTH),
        "top": (1, 1, HEIGHT),
        "bottom": (1, -1, HEIGHT),
    }[meaning.extreme]
    ahead = [o for o in others if sign * (o.centroid[axis] - target.centroid[axis]) < 0]
    assert len(ahead) == meaning.rank - 1
    assert all(abs(o.centroid[axis] - target.centroid[axis]) > rules.separation * side for o in others)


def check_relation(objects: list[SceneObject], meaning: Meaning, rules: Rules) -> None:
    relation = meaning.relation
    assert relation is not None
    check(objects, relation.anchor, rules)
    (anchor_index,), (target_index,) = relation.anchor.targets, meaning.targets
    assert anchor_index != target_index
    anchor, target = objects[anchor_index], objects[target_index]
    others = [
        o for i, o in enumerate(objects) if o.category == meaning.category and i not in (anchor_index, target_index)
    ]
    sizes = [(o.box[2] - o.box[0] + o.box[3] - o.box[1]) / 2 for o in (anchor, target)]
    distance = math.dist(anchor.centroid, target.centroid)
    assert distance < rules.reach_px + sum(sizes) / 2 / 2
    if relation.direction in ("near", "nearest"):
        assert all(math.dist(anchor.centroid, o.centroid) >= 1.5 * distance for o in others)
        return

    def bearing(item: SceneObject) -> complex:
        towards = complex(item.centroid[0] - anchor.centroid[0], item.centroid[1] - anchor.centroid[1])
        return towards / (abs(towards) or 1)

    vertical = {"upper": -1, "above": -1, "lower": 1, "below": 1}
    parts = relation.direction.split(" ")
    axis = complex(
        sum({"left": -1, "right": 1}.get(part, 0) for part in parts), sum(vertical.get(part, 0) for part in parts)
    )
    axis /= abs(axis)

    def turn(item: SceneObject) -> float:
        direction = bearing(item)
        cosine = direction.real * axis.real + direction.imag * axis.imag
        return math.degrees(math.acos(max(-1.0, min(1.0, cosine))))

    assert turn(target) <= 30 + 1e-6
    assert all(turn(o) > 45 for o in others)


def check(objects: list[SceneObject], meaning: Meaning, rules: Rules) -> None:
    """Assert that the meaning holds for its targets and for no other object."""
    family = [i for i, o in enumerate(objects) if o.category == meaning.category]
    if meaning.kind == "absent-category":
        assert not family
        assert not meaning.targets
        return
    if meaning.kind == "absent-position":
        assert meaning.place is not None
        left, top, right, bottom = region(meaning.place, rules)
        for i in family:
            x0, y0, x1, y1 = objects[i].box
            assert x0 >= right * WIDTH or x1 <= left * WIDTH or y0 >= bottom * HEIGHT or y1 <= top * HEIGHT
        assert not meaning.targets
        return
    assert set(meaning.targets) <= set(family)
    assert len(meaning.targets) == meaning.count
    assert meaning.plural == (meaning.count > 1)
    assert meaning.total == len(family)
    if meaning.kind == "unique":
        assert list(meaning.targets) == family
    elif meaning.kind == "group" and meaning.place is None:
        assert list(meaning.targets) == family
        assert len(family) > 1
    elif meaning.kind in ("position", "group"):
        check_place(objects, meaning, rules)
        assert meaning.kind == "position" or len(meaning.targets) < len(family)
    elif meaning.kind == "extreme":
        check_extreme(objects, meaning, rules)
        assert meaning.place is None or centred_in(objects[meaning.targets[0]], meaning.place, -rules.border / 2, rules)
    elif meaning.kind == "size":
        own = objects[meaning.targets[0]].area
        others = [objects[i].area for i in family if i not in meaning.targets]
        sign = 1 if meaning.size == "largest" else -1
        assert sum(sign * (area - own) > 0 for area in others) == meaning.rank - 1
        assert all(max(area, own) > rules.size_ratio * min(area, own) for area in others)
    elif meaning.kind == "colour":
        assert [i for i in family if objects[i].colour in (meaning.colour, None)] == list(meaning.targets)
    else:
        assert meaning.kind == "relation"
        check_relation(objects, meaning, rules)


@settings(max_examples=150, deadline=None)
@given(objects=scenes, seed=seeds)
def test_each_expression_fits_exactly_its_targets(objects: list[SceneObject], seed: int) -> None:
    found = generate_expressions(objects, WIDTH, HEIGHT, np.random.default_rng(seed), vocabulary=VOCABULARY)
    assert found
    for expression in found:
        assert expression.targets == expression.meaning.targets
        assert expression.kind == expression.meaning.kind
        check(objects, expression.meaning, Rules())


@settings(max_examples=100, deadline=None)
@given(objects=scenes, seed=seeds)
def test_sampled_expressions_are_as_strict(objects: list[SceneObject], seed: int) -> None:
    found = sample_expressions(objects, WIDTH, HEIGHT, np.random.default_rng(seed), count=12, vocabulary=VOCABULARY)
    assert len(found) == 12
    for expression in found:
        check(objects, expression.meaning, Rules())


@settings(max_examples=60, deadline=None)
@given(objects=scenes, seed=seeds)
def test_one_phrase_never_names_two_things(objects: list[SceneObject], seed: int) -> None:
    rng = np.random.default_rng(seed)
    named: dict[str, tuple[int, ...]] = {}
    for _ in range(6):
        for expression in generate_expressions(objects, WIDTH, HEIGHT, rng, grammar=Grammar("all")):
            phrase = expression.phrase.lower().rstrip(".?")
            assert named.setdefault(phrase, expression.targets) == expression.targets, phrase


MIRROR = {"left": "right", "right": "left"}


def mirrored_place(place: Place | None) -> Place | None:
    if place is None:
        return None
    if place.kind in ("cell", "quadrant"):
        return replace(place, column=2 - place.column)
    return replace(place, side=MIRROR.get(place.side, place.side))  # type: ignore[arg-type]


def mirrored(meaning: Meaning) -> Meaning:
    relation = meaning.relation
    if relation is not None:
        direction = " ".join(MIRROR.get(word, word) for word in relation.direction.split(" "))
        relation = replace(relation, direction=direction, anchor=mirrored(relation.anchor))  # type: ignore[arg-type]
    extreme = MIRROR.get(meaning.extreme, meaning.extreme) if meaning.extreme else None
    return replace(meaning, place=mirrored_place(meaning.place), extreme=extreme, relation=relation)  # type: ignore[arg-type]


@settings(max_examples=150, deadline=None)
@given(objects=scenes)
def test_flipping_the_scene_swaps_left_and_right(objects: list[SceneObject]) -> None:
    def all_meanings(items: list[SceneObject]) -> set[Meaning]:
        scene = Scene(items, WIDTH, HEIGHT, Rules())
        return {m for group in present_meanings(scene).values() for m in group} | set(absent_places(scene))

    # The difference, not ==: drawing up how two large sets differ takes pytest minutes.
    assert not all_meanings([flip(item) for item in objects]) ^ {mirrored(m) for m in all_meanings(objects)}


def phrases_of(objects: list[SceneObject], kind: str, **options: object) -> set[tuple[str, tuple[int, ...]]]:
    """Meanings of one kind in short: what they say and whom they name."""
    scene = Scene(objects, WIDTH, HEIGHT, Rules(**options))  # type: ignore[arg-type]
    return {
        (str(m.extreme or m.size or (m.relation and m.relation.direction) or (m.place and m.place.kind)), m.targets)
        for m in present_meanings(scene).get(kind, [])  # type: ignore[call-overload]
    }


def test_extremes_need_a_clear_lead() -> None:
    close = [make_object("ship", 100, 300), make_object("ship", 140, 500)]
    assert not {e for e in phrases_of(close, "extreme") if e[0] == "left"}
    apart = [make_object("ship", 100, 300), make_object("ship", 160, 500)]
    assert ("left", (0,)) in phrases_of(apart, "extreme")
    assert ("right", (1,)) in phrases_of(apart, "extreme")


def test_the_largest_is_half_as_large_again() -> None:
    small, large = make_object("ship", 100, 300, 40, 30), make_object("ship", 700, 300, 59, 30)
    assert not phrases_of([small, large], "size")
    assert ("largest", (1,)) in phrases_of([small, make_object("ship", 700, 300, 61, 30)], "size")


def test_an_object_near_a_line_keeps_the_names_of_both_cells() -> None:
    inside = make_object("ship", 150, 150)
    on_the_line = make_object("ship", round(WIDTH / 3) + 20, 150)
    well_beyond = make_object("ship", round(WIDTH / 3) + 80, 150)
    upper_left = Place("cell", 0, 0)

    def says_upper_left(objects: list[SceneObject]) -> bool:
        found = present_meanings(Scene(objects, WIDTH, HEIGHT, Rules())).get("position", [])
        return any(m.place == upper_left and m.targets == (0,) for m in found)

    assert says_upper_left([inside, well_beyond])
    assert not says_upper_left([inside, on_the_line])


def test_relations_end_at_their_reach() -> None:
    bridge, near, far = make_object("bridge", 300, 300), make_object("ship", 430, 300), make_object("ship", 600, 300)
    assert ("right", (1,)) in phrases_of([bridge, near], "relation")
    assert ("right", (1,)) not in phrases_of([bridge, far], "relation")
    assert ("right", (1,)) in phrases_of([bridge, far], "relation", reach_px=300.0)


def test_colours_are_used_only_when_all_are_known() -> None:
    white, red = make_object("ship", 100, 100, colour="white"), make_object("ship", 600, 300, colour="red")
    unknown = make_object("ship", 300, 600)
    assert len(phrases_of([white, red], "colour")) == 2
    assert not phrases_of([white, red, unknown], "colour")


def test_what_may_be_unlabelled_is_never_said_to_be_absent() -> None:
    ships = [make_object("ship", 100, 100), make_object("ship", 700, 600)]
    found = sample_expressions(
        ships, WIDTH, HEIGHT, np.random.default_rng(0), count=200, weights={"absent-category": 1.0},
        vocabulary=("ship", "harbor", "vehicle", "airplane"), never_absent=frozenset({"vehicle"}),
    )  # fmt: skip
    assert {e.category for e in found} == {"airplane"}  # a harbor often lies unlabelled beside ships
    found = sample_expressions(
        [], WIDTH, HEIGHT, np.random.default_rng(0), count=200, weights={"absent-category": 1.0},
        vocabulary=("ship", "harbor", "airplane"), context=("ship",),
    )  # fmt: skip
    assert {e.category for e in found} == {"ship", "airplane"}  # nor in a crop that shows none of the ships
    found = sample_expressions(
        ships, WIDTH, HEIGHT, np.random.default_rng(0), count=50, weights={"absent-position": 1.0},
        never_absent=frozenset({"ship"}),
    )  # fmt: skip
    assert not found


def test_weights_choose_the_kinds() -> None:
    objects = [make_object("ship", 120 + 190 * k, 100 + 140 * k, 20 + 15 * k) for k in range(5)]
    objects.append(make_object("bridge", 300, 300))
    for kind in set(DEFAULT_WEIGHTS) - {"colour"}:
        found = sample_expressions(
            objects, WIDTH, HEIGHT, np.random.default_rng(0), count=20, weights={kind: 1.0}, vocabulary=VOCABULARY
        )
        assert {e.kind for e in found} == {kind}
    with pytest.raises(ValueError, match="unknown kinds"):
        sample_expressions(objects, WIDTH, HEIGHT, np.random.default_rng(0), count=1, weights={"colours": 1.0})
    with pytest.raises(ValueError, match="negative"):
        sample_expressions(objects, WIDTH, HEIGHT, np.random.default_rng(0), count=1, weights={"unique": -1.0})


def test_the_same_seed_says_the_same() -> None:
    objects = [make_object("ship", 120 + 190 * k, 100 + 140 * k, 20 + 15 * k) for k in range(5)]

    def said(seed: int) -> list[str]:
        rng = np.random.default_rng(seed)
        return [e.phrase for _ in range(3) for e in sample_expressions(objects, WIDTH, HEIGHT, rng, count=5)]

    assert said(3) == said(3)
    assert said(3) != said(4)


def test_an_empty_scene_has_only_absent_phrases() -> None:
    rng = np.random.default_rng(0)
    assert sample_expressions([], WIDTH, HEIGHT, rng, count=4) == []
    found = sample_expressions([], WIDTH, HEIGHT, rng, count=4, vocabulary=("ship",))
    assert [e.kind for e in found] == ["absent-category"] * 4
    with pytest.raises(ValueError, match="positive"):
        sample_expressions([], 0, 10, rng, count=1)
