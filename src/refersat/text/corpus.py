"""Sentences to train a small vocabulary of subwords on: what the expression generator says, about more categories."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from refersat.text.expressions import Grammar, SceneObject, sample_expressions
from refersat.text.words import SYNONYMS, article, plural

if TYPE_CHECKING:
    from numpy.random import Generator

# Categories of DIOR, RRSIS-D, RISBench and RefSegRS, and words for land cover.
BROADER_CATEGORIES = (
    "airport", "baseball field", "chimney", "dam", "expressway service area", "expressway toll station", "golf course",
    "golf field", "overpass", "stadium", "train station", "windmill", "wind turbine", "swimming pool", "roundabout",
    "helicopter", "helipad", "soccer ball field", "soccer field", "football field", "large vehicle", "container crane",
    "road", "main road", "highway", "street", "intersection", "van", "truck", "trailer", "bus", "train", "railway",
    "road marking", "bikeway", "sidewalk", "parking lot", "parking area", "driveway", "lane", "crosswalk", "runway",
    "taxiway", "apron", "tarmac", "terminal", "hangar", "water", "lake", "river", "pond", "sea", "canal", "beach",
    "island", "building", "house", "roof", "warehouse", "factory", "church", "school", "residential area",
    "industrial area", "vegetation", "low vegetation", "tree", "forest", "woods", "grass", "lawn", "meadow", "field",
    "farmland", "greenhouse", "garden", "park", "square", "playground", "bare soil", "unpaved land", "solar panel",
    "container", "crane", "fence", "impervious surface", "fountain", "mine", "tower", "volleyball court",
)  # fmt: skip
COLOURS = (
    "red", "orange", "yellow", "green", "cyan", "blue", "purple", "brown", "black", "white", "gray", "grey", "dark",
    "light", "silver", "pink", "beige", "dark green", "light blue", "dark gray", "red and white", "blue and green",
    "gray and white", "black and white", "colorful",
)  # fmt: skip
LOOKS = (
    "tiny", "small", "large", "huge", "big", "long", "short", "wide", "narrow", "oval", "rectangular", "round",
    "square", "circular", "slender", "curved", "straight", "triangular", "empty", "parked", "moving", "old", "new",
    "dense",
)  # fmt: skip
SURROUNDINGS = (
    "in", "on", "along", "near", "next to", "surrounded by", "in front of", "behind", "between", "parallel to", "over",
    "crossing", "at the edge of", "across", "around", "inside", "outside", "is enclosed by", "is parked on",
    "is docked at", "spans across", "extends into", "is adjacent to", "a little smaller than", "much larger than",
    "partially visible at",
)  # fmt: skip


def corpus(rng: Generator, n: int) -> Iterator[str]:
    """Yield ``n`` sentences with the wordings of both halves, colours, looks and surroundings."""
    rnd = Random(int(rng.integers(2**63)))
    categories = (*SYNONYMS, *BROADER_CATEGORIES)
    written = 0
    while written < n:
        # The generator's own categories are half of what is said: they are what the model is asked for most.
        vocabulary = [rnd.choice(tuple(SYNONYMS) if rnd.random() < 0.5 else categories) for _ in range(5)]
        scene = [_random_object(rnd, vocabulary[:3]) for _ in range(rnd.randint(3, 9))]
        sentences = [
            expression.phrase
            for expression in sample_expressions(
                scene, 800, 800, np.random.default_rng(rnd.getrandbits(63)),
                count=6, grammar=Grammar("all"), vocabulary=vocabulary,
            )
        ]  # fmt: skip
        sentences += [_described(rnd, categories) for _ in range(3)]
        yield from sentences[: n - written]
        written += len(sentences)


def _random_object(rnd: Random, categories: list[str]) -> SceneObject:
    x, y, width, height = rnd.uniform(0, 700), rnd.uniform(0, 700), rnd.uniform(10, 100), rnd.uniform(10, 100)
    box = (x, y, x + width, y + height)
    colour = rnd.choice(COLOURS)
    return SceneObject(rnd.choice(categories), box, (x + width / 2, y + height / 2), width * height, colour)


def _described(rnd: Random, categories: tuple[str, ...]) -> str:
    """A sentence such as "A large gray ship is docked at the harbor"."""
    adjectives = rnd.sample((*COLOURS, *LOOKS), rnd.randint(0, 2))
    noun = " ".join((*adjectives, rnd.choice(categories)))
    start = rnd.choice((f"the {noun}", f"{article(noun)} {noun}", noun, plural(noun)))
    text = start if rnd.random() < 0.3 else f"{start} {rnd.choice(SURROUNDINGS)} the {rnd.choice(categories)}"
    return text[0].upper() + text[1:] if rnd.random() < 0.4 else text
