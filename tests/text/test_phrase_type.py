"""The kind of a phrase, told from its words."""

from __future__ import annotations

import time

import numpy as np
import pytest

from refersat.text.expressions import generate_expressions
from refersat.text.grammar import Grammar
from refersat.text.phrase_type import PHRASE_TYPES, classify
from refersat.text.scene import SceneObject

KNOWN = {
    "relation": [
        "A ground track field is on the lower right of the small baseball field on the upper left",
        "A bridge is above the huge gray dam",
        "A is a little smaller than the basketball court",
        "vehicle in the parking area",
        "bikeway along the road",
        "The vehicle can be seen parked on the right side of a driveway.",
        "The tennis court on the bottom is surrounded by greenery on three sides.",
        "the largest ship to the left of the bridge",
        "the airplane next to the lower right airplane",
        "the ship in the middle of the harbor",
    ],
    "extreme": [
        "The top-most small vehicle appears in the top-right sector of the image.",
        "the leftmost ship",
        "The third ship from the left",
        "the ship closest to the left edge",
        "the ship that is further left than all others",
    ],
    "size": [
        "the second largest storage tank",
        "the larger of the two ships",
        "the tank that is larger than the others",
    ],
    "position": [
        "The small vehicle located towards the bottom-right corner of the image.",
        "A baseball field on the lower left",
        "The ship on the far right",
        "the red ship near the upper edge of the picture",
        "a storage tank on the center of the far right",
        "The bridge is located at the right of the image.",
    ],
    "attribute": ["A large windmill", "The gray frustum of a cone large chimney", "A red and white chimney"],
    "group": ["all ships", "vehicles", "the two airplanes", "Find every storage tank.", "large vehicles"],
    "unique": [
        "the bridge",
        "The expressway service area",
        "small vehicle",
        "impervious surface",
        "Tennis court in the image",
    ],
}


@pytest.mark.parametrize(("kind", "phrase"), [(kind, phrase) for kind, group in KNOWN.items() for phrase in group])
def test_known_phrases(kind: str, phrase: str) -> None:
    assert classify(phrase) == kind


@pytest.mark.parametrize("phrase", ["", "   ", "???", "船", "the " * 200, "on the left of " * 60])
def test_any_text_has_a_kind_at_once(phrase: str) -> None:
    began = time.perf_counter()
    assert classify(phrase) in PHRASE_TYPES
    assert time.perf_counter() - began < 0.5


def test_generated_phrases_are_told_by_their_words() -> None:
    """Words do not tell all: a group on the left is said like a position, and "the small ship" like an attribute."""
    rng = np.random.default_rng(0)
    right, total = dict.fromkeys(PHRASE_TYPES, 0), dict.fromkeys(PHRASE_TYPES, 0)
    for _ in range(40):
        boxes = [(x, y, x + w, y + h) for x, y, w, h in rng.uniform((0, 0, 20, 20), (700, 700, 100, 100), (6, 4))]
        scene = [
            SceneObject(
                str(rng.choice(["ship", "bridge", "vehicle"])), (x0, y0, x1, y1), ((x0 + x1) / 2, (y0 + y1) / 2), 1000.0
            )
            for x0, y0, x1, y1 in boxes
        ]
        for expression in generate_expressions(scene, 800, 800, rng, grammar=Grammar("all")):
            if expression.kind in total:
                total[expression.kind] += 1
                right[expression.kind] += classify(expression.phrase) == expression.kind
    for kind in ("unique", "position", "relation", "extreme"):
        assert right[kind] > 0.9 * total[kind] > 20


def test_every_kind_is_listed() -> None:
    assert set(KNOWN) == set(PHRASE_TYPES)
    assert len(set(PHRASE_TYPES)) == len(PHRASE_TYPES)
