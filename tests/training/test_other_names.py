"""Other names: what is said of objects under them stays true, and none is taught as a category."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.data.coco import read_coco
from refersat.models.rs2sam2 import RS2Sam2Config
from refersat.text.scene import SceneObject
from refersat.text.tokenizer import PhraseTokenizer
from refersat.text.words import SYNONYMS
from refersat.training.batch import UNNAMED
from refersat.training.generated import PhraseSampler
from refersat.training.other_names import other_names
from refersat.training.recipe import Recipe

CATEGORIES = ("ship", "harbor", "storage tank")
KNOWN = {name for category, pool in SYNONYMS.items() for name in (category, *pool.train, *pool.heldout)}


def thing(category: str) -> SceneObject:
    return SceneObject(category, (0, 0, 10, 10), (5, 5), 100)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(CATEGORIES), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_whole_categories_go_by_one_name_that_none_has(kinds: list[str], seed: int) -> None:
    objects = [thing(kind) for kind in kinds]

    found = other_names(objects, np.random.default_rng(seed))

    renamed = {before.category for before, after in zip(objects, found.objects, strict=True) if before != after}
    assert renamed
    assert found.hidden == renamed | {found.name}
    assert found.name not in KNOWN
    for before, after in zip(objects, found.objects, strict=True):
        assert after.category == (found.name if before.category in renamed else before.category)
        assert (after.box, after.centroid, after.area) == (before.box, before.centroid, before.area)


@pytest.fixture
def sampler(
    make_recipe: Callable[..., Recipe],
    data_set: SimpleNamespace,
    tiny_config: Callable[..., RS2Sam2Config],
    tokenizer: PhraseTokenizer,
) -> PhraseSampler:
    recipe = make_recipe()
    data = recipe.data.model_copy(update={"other_names": 0.99})
    return PhraseSampler(
        recipe.model_copy(update={"data": data}), read_coco(data_set.annotations), tokenizer, tiny_config()
    )


def test_such_phrases_name_no_category_and_are_always_about_something(sampler: PhraseSampler) -> None:
    views = sampler.views(0, size=60, image_size=32, phrases=3)

    told = [(view, k) for view in views for k, name in enumerate(view.named or ()) if name == UNNAMED]
    assert len(told) > 60
    assert all(view.present[k] and view.targets[k].any() for view, k in told)


def test_nothing_is_called_absent_that_only_goes_by_another_name(sampler: PhraseSampler) -> None:
    rng = np.random.default_rng(0)
    absent = 0
    for _ in range(20):
        for scene in sampler._scenes:
            shown = {item.category for item in scene.objects}
            for expression in sampler.expressions(scene, frozenset(shown), rng, 3):
                if expression.kind == "absent-category":
                    absent += 1
                    assert expression.category not in shown
                if not expression.targets:
                    assert expression.category in sampler.categories
    assert absent > 20
