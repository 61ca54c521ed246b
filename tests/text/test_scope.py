"""Words about the whole scene are found in any wording, and others are not taken for them."""

from __future__ import annotations

import pytest

from refersat.text.scope import scene_words


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("the largest hangar", ("largest",)),
        ("The hangar towards the bottom-right corner of the photo.", ("towards the bottom-right corner of the photo",)),
        ("a hangar around the center of the aerial image", ("around the center of the aerial image",)),
        ("three cranes in the upper right", ("in the upper right",)),
        ("northernmost silo", ("northernmost",)),
        ("the silo that is furthest north", ("furthest north",)),
        ("the ferry below the viaduct", ("below",)),
        ("the ferry to the south-west of the viaduct", ("to the south-west of",)),
        ("the second kiosk from the left", ("second", "from the left")),
        ("find the greenhouse on the far left, please", ("on the far left",)),
        ("the left barn", ("left",)),
        ("barns in the eastern half of the picture", ("in the eastern half of the picture",)),
        ("the barn closest to the middle", ("closest to the middle",)),
        ("the barn nearest to the pond", ("nearest to",)),
        ("the smaller of the two barns", ("smaller",)),
        ("the big barn", ("big",)),
        ("the longest pier", ("longest",)),
        ("pools in the northern part of the town", ("in the northern part",)),
        ("the barn halfway up the right side", ("halfway up the right side",)),
        ("a barn that is larger than the others", ("larger than the others",)),
        ("the last carriage", ("last",)),
    ],
)  # fmt: skip
def test_words_about_the_scene(phrase: str, words: tuple[str, ...]) -> None:
    assert scene_words(phrase) == words


@pytest.mark.parametrize(
    "phrase",
    [
        "all ferries",
        "the red roof",
        "big barns",
        "a large barn",
        "barns next to a pond",
        "the tractor right next to the barn",
        "cars in the left lane",
        "trees at the edge of the forest",
        "shops in the city center",
        "the crane on top of the warehouse",
        "large vehicles on the bridge",
        "every greenhouse in the image",
        "the center pivot field",
        "carriages between the platforms",
        "",
    ],
)
def test_other_words(phrase: str) -> None:
    assert scene_words(phrase) == ()
