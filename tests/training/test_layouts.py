"""Layouts: what a model sees of a view, kept, turned, and talked about."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from refersat.data.coco import CocoImage, read_coco
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.scene import SceneObject
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training import varied_layouts
from refersat.training.generated import PhraseSampler
from refersat.training.layout_sampler import LayoutBatch, LayoutSampler
from refersat.training.layouts import Layout, load, look, save
from refersat.training.recipe import OptimizerOptions, Recipe, Stage
from refersat.training.schedule import Schedule
from refersat.training.varied_layouts import FORMS, cropped, looks_of, swapped, thinned, turned, varied

WHOLLY = 4.0
"""`Layout.inside` of what lies in an outline altogether."""

LEFTMOST = re.compile(r"(the )?left-?most (ship|boat|vessel|watercraft)\b", re.IGNORECASE)
FULL_PRECISION = torch.autocast("cpu", enabled=False)


@pytest.fixture
def sampler(
    make_recipe: Callable[..., Recipe], tiny_config: Callable[..., RS2Sam2Config], tokenizer: PhraseTokenizer
) -> PhraseSampler:
    recipe = make_recipe()
    return PhraseSampler(recipe, read_coco(recipe.data.annotations), tokenizer, tiny_config())


def perfect(boxes: Sequence[tuple[str, float, float, float, float]], width: int = 90, height: int = 60) -> Layout:
    """The layout of a model that finds exactly what is outlined."""
    objects = tuple(
        SceneObject(name, (x0, y0, x1, y1), ((x0 + x1) / 2, (y0 + y1) / 2), (x1 - x0) * (y1 - y0))
        for name, x0, y0, x1, y1 in boxes
    )
    count = len(objects)
    sides = np.array([width, height, width, height])
    return Layout(
        scene=CocoImage("drawn.png", width, height, objects, ()),
        context=frozenset(item.category for item in objects),
        features=np.arange(count * 4, dtype=np.float16).reshape(count, 4),
        boxes=(np.array([item.box for item in objects]) / sides).astype(np.float32),
        scores=np.linspace(0.9, 0.5, count, dtype=np.float32),
        inside=WHOLLY * np.eye(count, dtype=np.float16),
    )


FLEET = perfect([
    ("ship", 5, 5, 15, 20), ("ship", 40, 8, 55, 18), ("ship", 70, 40, 88, 55), ("storage tank", 10, 35, 25, 50),
])  # fmt: skip


def test_the_whole_is_meant_and_not_its_parts() -> None:
    whole, half, nearly = (5, 5, 15, 20), (5, 5, 10, 20), (5, 5, 15, 17)
    found = perfect([("ship", *whole), ("ship", *half), ("ship", *nearly), ("tank", 40, 8, 55, 18)])
    outlined = replace(found.scene, objects=(found.scene.objects[0], found.scene.objects[3]))
    inside = np.array([[WHOLLY, WHOLLY, WHOLLY, 0], [0, 0, 0, WHOLLY]], np.float16)
    layout = replace(found, scene=outlined, inside=inside)
    assert layout.meant([0]).tolist() == [True, False, True, False]
    assert layout.meant([0, 1]).tolist() == [True, False, True, True]
    assert layout.meant([]).tolist() == [False] * 4
    shattered = _only(layout, [1, 3])  # nobody saw it whole
    assert shattered.meant([0]).tolist() == [True, False]


def _only(layout: Layout, found: list[int]) -> Layout:
    kept = {name: getattr(layout, name)[found] for name in ("features", "boxes", "scores")}
    return replace(layout, inside=layout.inside[:, found], **kept)


TANK = 12
"""The first feature of the fleet's storage tank."""


@given(st.integers(0, FORMS - 1))
def test_what_is_found_turns_with_what_is_outlined(form: int) -> None:
    layout = turned(FLEET, form)
    sides = np.array([layout.scene.width, layout.scene.height] * 2)
    outlined = np.array([item.box for item in layout.scene.objects]) / sides
    np.testing.assert_allclose(layout.boxes, outlined, atol=1e-6)
    low, high = outlined[:, :2], outlined[:, 2:]
    assert (low < high).all()
    centroids = np.array([item.centroid for item in layout.scene.objects]) / sides[:2]
    np.testing.assert_allclose(centroids, (low + high) / 2, atol=1e-6)
    assert [item.area for item in layout.scene.objects] == [item.area for item in FLEET.scene.objects]


def test_all_forms_differ() -> None:
    forms = {(layout.scene.width, layout.boxes.tobytes()) for layout in (turned(FLEET, form) for form in range(FORMS))}
    assert len(forms) == FORMS
    same = turned(FLEET, 0)
    assert same.scene.objects == FLEET.scene.objects
    np.testing.assert_array_equal(same.boxes, FLEET.boxes)


def drawn_by(
    sampler: PhraseSampler, tokenizer: PhraseTokenizer, step: int, parts: Sequence[range], layouts: Sequence[Layout]
) -> list[LayoutBatch]:
    stage = Stage(steps=9, image_size=64, batch_size=4, phrases_per_view=5, only="selection")
    schedule = Schedule((stage,), OptimizerOptions(), dropped=0, validate_every=1, save_every=1, samples=None)
    made: Any = LayoutSampler(layouts, sampler, tokenizer, seed=3).batches(step, schedule, parts)
    return made


def test_phrases_mean_the_same_in_all_variations(
    sampler: PhraseSampler, tokenizer: PhraseTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(varied_layouts, "NOISE", 0.0)

    checked = 0
    for step in range(40):
        (batch,) = drawn_by(sampler, tokenizer, step, [range(4)], [FLEET])
        assert len(batch.meant) == 20
        assert batch.present.tolist() == batch.meant.amax(1).tolist()
        for row, phrase in enumerate(batch.phrases):
            if LEFTMOST.match(phrase):
                tank = batch.objects.features[row // 5, :, 0] == TANK
                missing = batch.objects.scores[row // 5] == 0
                lefts = batch.objects.boxes[row // 5, :, 0].masked_fill(tank | missing, 2)
                assert batch.meant[row].nonzero().flatten().tolist() == [lefts.argmin()], phrase
                checked += 1
    assert checked


def test_batches_follow_from_the_step_and_split_anywhere(sampler: PhraseSampler, tokenizer: PhraseTokenizer) -> None:
    layouts = [FLEET, perfect([("ship", 5, 5, 15, 20)]), perfect([("ship", 5, 5, 15, 20), ("ship", 50, 5, 75, 20)])]
    (whole,) = drawn_by(sampler, tokenizer, 7, [range(4)], layouts)
    halves = drawn_by(sampler, tokenizer, 7, [range(2), range(2, 4)], layouts)
    (other,) = drawn_by(sampler, tokenizer, 8, [range(4)], layouts)
    assert whole.phrases == halves[0].phrases + halves[1].phrases != other.phrases
    for number, half in enumerate(halves):
        most = half.meant.shape[1]
        assert torch.equal(half.meant, whole.meant[number * 10 : number * 10 + 10, :most])
        assert torch.equal(half.objects.boxes, whole.objects.boxes[number * 2 : number * 2 + 2, :most])
        assert not whole.objects.scores[number * 2 : number * 2 + 2, most:].any()


def test_what_was_seen_is_kept(
    sampler: PhraseSampler, tiny_config: Callable[..., RS2Sam2Config], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = RS2Sam2Model(tiny_config(selection=True)).eval()
    told: list[int] = []
    layouts = look(model, sampler, count=7, image_size=64, precision=FULL_PRECISION, advance=told.append)
    assert told == list(range(1, 8))
    save(layouts, tmp_path / "seen.safetensors")
    for one, other in zip(layouts, load(tmp_path / "seen.safetensors", sampler), strict=True):
        assert one.scene.objects == other.scene.objects
        assert one.context == other.context
        for name in ("features", "boxes", "scores", "inside"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
        assert one.inside.shape == (len(one.scene.objects), one.count)


@given(st.tuples(*[st.floats(0, 0.5)] * 2), st.tuples(*[st.floats(0.5, 1)] * 2))
def test_a_part_keeps_what_lies_in_it(corner: tuple[float, float], sides: tuple[float, float]) -> None:
    part = cropped(FLEET, *corner, *sides)
    count = len(part.scene.objects)
    assert part.inside.shape == (count, part.count)
    if part is FLEET:
        return
    np.testing.assert_array_equal(part.inside, WHOLLY * np.eye(count))
    assert (part.scores > 0).all()
    outlined = np.array([item.box for item in part.scene.objects])
    frame = np.array([FLEET.scene.width * sides[0], FLEET.scene.height * sides[1]] * 2)
    np.testing.assert_allclose(part.boxes, (outlined / frame).clip(0, 1), atol=1e-5)
    assert {item.area for item in part.scene.objects} <= {item.area for item in FLEET.scene.objects}


@given(st.integers(0, 1000))
def test_fewer_objects_are_fewer_in_both(seed: int) -> None:
    fewer = thinned(FLEET, np.random.default_rng(seed))
    count = len(fewer.scene.objects)
    assert 2 <= count < 4
    np.testing.assert_array_equal(fewer.inside, WHOLLY * np.eye(count))
    outlined = np.array([item.box for item in fewer.scene.objects]) / [90, 60, 90, 60]
    np.testing.assert_allclose(fewer.boxes, outlined, atol=1e-6)


def test_where_nothing_is_found_one_empty_slot_is_left() -> None:
    blind = replace(FLEET, scores=np.zeros(4, np.float32), inside=np.zeros((4, 4), np.float16))
    assert cropped(blind, 0.0, 0.0, 0.6, 0.6).scores.tolist() == [0]


@given(st.integers(0, 1000))
def test_objects_look_like_others_of_their_kind(seed: int) -> None:
    other = replace(FLEET, features=FLEET.features + np.float16(100))
    looks = looks_of([FLEET, other])
    assert {category: len(features) for category, features in looks.items()} == {"ship": 6, "storage tank": 2}
    changed = swapped(FLEET, looks, np.random.default_rng(seed))
    assert changed.features[3, 0] in (TANK, TANK + 100)
    assert set(changed.features[:3, 0]) <= {0, 4, 8, 100, 104, 108}
    np.testing.assert_array_equal(changed.boxes, FLEET.boxes)
    assert varied(FLEET, looks, np.random.default_rng(seed)).features.dtype == np.float16
