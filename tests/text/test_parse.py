"""What the generator says is understood again, and so are other people's wordings."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.text.expressions import Grammar, SceneObject, generate_expressions
from refersat.text.meaning import Meaning, Place, Relation
from refersat.text.parse import Reading, parse
from refersat.text.resolve import resolve
from refersat.text.scene import DEFAULT_RULES, Scene
from refersat.text.spoken import vocabulary
from refersat.text.words import SYNONYMS, UNCOUNTED

WIDTH, HEIGHT = 997, 797
SOME_WORDS = sorted(vocabulary("the of left top ship and is in on to largest from second image closest than it"))


def make_object(category: str, x: int, y: int, width: int, height: int, colour: str | None) -> SceneObject:
    box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return SceneObject(category, box, (x + 0.13, y + 0.13), width * height, colour)


scenes = st.lists(
    st.builds(
        make_object,
        category=st.sampled_from(("ship", "storage tank", "ground track field", "tennis court", "harbor", "bridge")),
        x=st.integers(50, WIDTH - 50),
        y=st.integers(50, HEIGHT - 50),
        width=st.integers(4, 98),
        height=st.integers(4, 98),
        colour=st.sampled_from((None, "white", "dark red", "blue and white")),
    ),
    min_size=1,
    max_size=9,
)


def is_ambiguous(phrase: str) -> bool:
    """A bare "large ship" may be any; "the watercraft" may be one or many."""
    if re.match(r"(large|big|small|tiny|little) ", phrase.lower()):
        return True
    return any(re.search(rf"^(?!.*\b(all|every|each|both)\b).*\b{word}\b", phrase.lower()) for word in UNCOUNTED)


def as_said(meaning: Meaning, heard: Meaning) -> Meaning:
    """The generator's meaning without what its words need not tell."""
    place = meaning.place if heard.place or not (meaning.extreme or meaning.size) else None
    relation = meaning.relation
    if relation and heard.relation:
        relation = Relation(relation.direction, as_said(relation.anchor, heard.relation.anchor))
    kind = heard.kind if meaning.kind.startswith("absent") else meaning.kind
    count = meaning.count if heard.count > 1 else 1
    return replace(meaning, kind=kind, targets=(), count=count, total=1, far=False, place=place, relation=relation)


@settings(max_examples=25, deadline=None)
@given(objects=scenes, seed=st.integers(0, 2**32))
def test_what_the_generator_says_is_understood(objects: list[SceneObject], seed: int) -> None:
    rng = np.random.default_rng(seed)
    for said in generate_expressions(objects, WIDTH, HEIGHT, rng, grammar=Grammar("all"), vocabulary=tuple(SYNONYMS)):
        if is_ambiguous(said.phrase):
            continue
        reading = parse(said.phrase)
        assert reading, said.phrase
        assert reading.meaning == as_said(said.meaning, reading.meaning), said.phrase


@settings(max_examples=25, deadline=None)
@given(objects=scenes, seed=st.integers(0, 2**32))
def test_what_was_understood_finds_what_was_meant(objects: list[SceneObject], seed: int) -> None:
    scene = Scene(objects, WIDTH, HEIGHT, DEFAULT_RULES)

    def members(reading: Reading) -> list[int]:
        meaning = reading.meaning
        same = scene.by_category.get(meaning.category, [])
        return [i for i in same if meaning.colour in (None, objects[i].colour)]

    for said in generate_expressions(objects, WIDTH, HEIGHT, np.random.default_rng(seed), grammar=Grammar("all")):
        reading = None if is_ambiguous(said.phrase) else parse(said.phrase)
        if reading:
            assert set(resolve(reading, scene, members)) == set(said.targets), said.phrase


def place(kind: str, row: int = 1, column: int = 1, side: str = "left") -> Place:
    return Place(kind, row, column, side)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("phrase", "expected"),
    [
        ("Could you find the barn situated towards the top-left corner?", {"place": place("cell", 0, 0)}),
        ("the barn in the north-east", {"place": place("cell", 0, 2)}),
        ("a barn lying in the southern half", {"place": place("half", side="bottom")}),
        ("the second largest barn in the western part of the scene",
         {"size": "largest", "rank": 2, "place": place("side", side="left")}),
        ("the largest of the three barns", {"size": "largest", "plural": False}),
        ("which barn is the smallest?", {"size": "smallest"}),
        ("the 3 westernmost barns", {"extreme": "left", "plural": True, "count": 3}),
        ("the three largest barns", {"size": "largest", "plural": True, "count": 3}),
        ("the first barn from the lower right of some barns that are in the middle",
         {"extreme": "lower right", "place": place("cell", 1, 1)}),
        ("two barns at the far top", {"plural": True, "count": 2, "place": place("side", side="top")}),
        ("the only barn on the left", {"place": place("side", side="left")}),
    ],
)  # fmt: skip
def test_other_wordings(phrase: str, expected: dict[str, object]) -> None:
    reading = parse(phrase)
    assert reading
    assert reading.kind_phrase == "all barns"
    assert {name: getattr(reading.meaning, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("phrase", "many"),
    [
        ("water in the right half", True),
        ("the low vegetation on the left", True),
        ("the largest water in the right half", False),
        ("a farmland on the left", False),
        ("the aircraft on the left", False),
    ],
)
def test_what_covers_the_ground_is_spoken_of_as_a_whole(phrase: str, many: bool) -> None:
    reading = parse(phrase)
    assert reading
    assert reading.meaning.plural == many


def test_relations_keep_the_words_for_both_things() -> None:
    reading = parse("the small red barge to the immediate left of the old stone bridges on the right and above a weir")
    assert reading
    assert reading.meaning.relation
    assert reading.anchor
    assert reading.meaning.relation.direction == "left"
    assert reading.meaning.size == "smallest"
    assert reading.kind_phrase == "all red barges"
    assert reading.anchor.kind_phrase == "all old stone bridges"
    assert reading.anchor.meaning.place == place("side", side="right")
    assert [(relation.direction, anchor.noun) for relation, anchor in reading.further] == [("above", "weir")]


def test_what_singles_out_on_the_spot_stays_with_the_noun() -> None:
    reading = parse("the largest lorry parked along the canal")
    assert reading
    assert reading.kind_phrase == "all lorries parked along the canal"
    assert parse("all aircraft").kind_phrase == "all aircraft"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "phrase",
    [
        "all barns except the largest",
        "the longest barn",
        "the barn furthest from the pond",
        "the barn in the second row",
        "the biggest one",
        "on the left",
        "the largest",
        "",
        "?!",
        "the the the",
        "and it is on the left of",
    ],
)
def test_what_is_not_understood_is_said_to_be_so(phrase: str) -> None:
    assert parse(phrase) is None


@settings(deadline=None)
@given(st.lists(st.sampled_from(SOME_WORDS), max_size=12))
def test_no_words_whatever_break_it(words: list[str]) -> None:
    parse(" ".join(words))
