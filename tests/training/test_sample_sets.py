"""Samples as they are: every one once an epoch, mirrored with its phrase, absent ones empty."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from refersat.errors import UserError
from refersat.models.rs2sam2 import RS2Sam2Config
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.batch import View
from refersat.training.recipe import Recipe, SampleData
from refersat.training.sample_sets import SetSampler, TrainingSamples, read_training_samples
from refersat.training.schedule import Schedule

MakeRecipe = Callable[..., Recipe]
SIDE = 64


@pytest.fixture
def make_sampler(
    make_sample_recipe: MakeRecipe, tiny_config: Callable[..., RS2Sam2Config], tokenizer: PhraseTokenizer
) -> Callable[..., SetSampler]:
    def make(*, seed: int = 0, **data: Any) -> SetSampler:
        recipe = make_sample_recipe(seed=seed, data=data)
        return SetSampler(recipe, samples_of(recipe).train, tokenizer, tiny_config())

    return make


def samples_of(recipe: Recipe) -> TrainingSamples:
    assert isinstance(recipe.data, SampleData)
    return read_training_samples(recipe.data)


def views_of(sampler: SetSampler, count: int) -> list[View]:
    return [sampler.view(place, SIDE) for place in range(count)]


def test_every_epoch_shows_each_sample_once(make_sampler: Callable[..., SetSampler]) -> None:
    names = [view.name for view in views_of(make_sampler(), 18)]
    epochs = [names[start : start + 6] for start in (0, 6, 12)]
    assert all(Counter(epoch) == Counter(f"s{number}" for number in range(6)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1  # in an order of its own
    assert [view.name for view in views_of(make_sampler(seed=1), 18)] != names


def test_batches_are_the_places_of_the_run(
    make_sampler: Callable[..., SetSampler], make_sample_recipe: MakeRecipe
) -> None:
    sampler = make_sampler()
    schedule = Schedule.of(make_sample_recipe(), 6)
    names = [view.name for view in views_of(sampler, 12)]
    for step in range(6):
        first, second = sampler.batches(step, schedule, [range(1), range(1, 2)])
        assert (*first.views, *second.views) == tuple(names[2 * step : 2 * step + 2])
        assert first.pixel_values.shape == (1, 3, 32, 32)
        assert first.target.shape == (1, 1, 32, 32)
        assert first.labels is None


def test_a_view_depends_on_its_place_alone(make_sampler: Callable[..., SetSampler]) -> None:
    sampler = make_sampler(flip="both", colour=0.2, absent=0.3)
    sent = pickle.loads(pickle.dumps(make_sampler(flip="both", colour=0.2, absent=0.3)))
    views = views_of(sampler, 20)
    for place in (13, 4, 19):
        again = sent.view(place, SIDE)
        assert again.phrases == views[place].phrases
        np.testing.assert_array_equal(again.pixels, views[place].pixels)
        np.testing.assert_array_equal(again.targets, views[place].targets)


def shown(view: View) -> NDArray[np.bool_]:
    """Where something stands on the ground."""
    return (view.pixels != view.pixels[0, 63]).any(-1) | (view.pixels != view.pixels[63, 0]).any(-1)


def side_of(mask: NDArray[np.bool_]) -> set[str]:
    rows, columns = np.nonzero(mask)
    horizontal = {True: "left", False: "right"}[bool(columns.mean() < SIDE / 2)] if columns.std() < 8 else ""
    vertical = {True: "top", False: "bottom"}[bool(rows.mean() < SIDE / 2)]
    return {horizontal, vertical}


@pytest.mark.parametrize("flip", ["none", "left-right", "both"])
def test_phrases_follow_their_images(make_sampler: Callable[..., SetSampler], flip: str) -> None:
    sampler = make_sampler(flip=flip)
    said = Counter()
    for view in views_of(sampler, 240):
        (phrase,), (target,) = view.phrases, view.targets
        said[view.name, phrase] += 1
        assert view.present == [bool(target.any())]
        if not target.any():
            assert phrase == "the ship that is not there"
            continue
        colour = view.pixels[target]
        assert (colour == colour[0]).all()  # the target is the object, mirrored or not
        assert np.count_nonzero((view.pixels == colour[0]).all(-1)) == np.count_nonzero(target)
        for side in ("left", "right", "top", "bottom"):
            if side in phrase:
                assert side in side_of(target)
    ways = {"none": 1, "left-right": 2, "both": 2}[flip]
    assert len([1 for name, _ in said if name == "s0"]) == ways
    assert len([1 for name, _ in said if name == "s2"]) == (2 if flip == "both" else 1)
    if flip != "none":
        assert 10 < said["s0", "the ship on the left"] < 30


def test_foreign_phrases_name_nothing(make_sampler: Callable[..., SetSampler]) -> None:
    views = views_of(make_sampler(absent=0.5), 240)
    foreign = [view for view in views if not view.present[0] and view.name != "s5"]
    assert 50 < len(foreign) < 150
    for view in foreign:
        is_ship = view.name in ("s0", "s1")
        assert ("ship" in view.phrases[0]) != is_ship
        assert not view.targets.any()


def test_categories_that_may_be_anywhere_are_never_called_absent(make_sampler: Callable[..., SetSampler]) -> None:
    views = views_of(make_sampler(absent=0.5, never_absent=["ship"]), 120)
    foreign = [view.phrases[0] for view in views if not view.present[0] and view.name != "s5"]
    assert foreign
    assert all("tank" in phrase for phrase in foreign)


def test_images_are_held_out_whole(write_triplets: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_triplets(tmp_path / "t", [("train", "a ship", ("ship", 8, 8, 8, 8))] * 40)
    items = json.loads((folder / "refs.json").read_text())
    doubled = items + [{**item, "id": f"again-{item['id']}", "sentence": "the ship"} for item in items]
    (folder / "refs.json").write_text(json.dumps(doubled))
    both = read_training_samples(SampleData(train=[f"triplets:{folder}"], holdout=0.25))
    measured = {sample.image for sample in both.validation}
    assert 4 <= len(measured) <= 17
    assert not measured & {sample.image for sample in both.train}
    assert len(both.train) + len(both.validation) == 80
    assert len(both.validation) == 2 * len(measured)


def test_one_image_is_held_out_of_few(write_triplets: Callable[..., Path], tmp_path: Path) -> None:
    item = ("train", "a ship", ("ship", 8, 8, 8, 8))
    counts = []
    for number in (1, 2, 3):
        folder = write_triplets(tmp_path / str(number), [item] * number)
        both = read_training_samples(SampleData(train=[f"triplets:{folder}"], holdout=1e-9))
        counts.append((len(both.train), len(both.validation)))
    assert counts == [(1, 0), (1, 1), (2, 1)]


def test_more_images_leave_those_held_out_where_they_are(write_triplets: Callable[..., Path], tmp_path: Path) -> None:
    item = ("train", "a ship", ("ship", 8, 8, 8, 8))
    held = []
    for number in (20, 40):
        folder = write_triplets(tmp_path / str(number), [item] * number)
        both = read_training_samples(SampleData(train=[f"triplets:{folder}"], holdout=0.5))
        held.append({sample.image.name for sample in both.validation})
    assert held[0] == {name for name in held[1] if int(Path(name).stem) < 20}


def test_a_share_is_the_same_each_time_and_grows(write_triplets: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_triplets(tmp_path / "t", [("train", "a ship", ("ship", 8, 8, 8, 8))] * 60)
    drawn = {}
    for share in (0.1, 0.5, 1.0):
        data = SampleData(train=[f"triplets:{folder}"], share=share, validation_split=None)
        drawn[share] = {sample.id for sample in read_training_samples(data).train}
        assert drawn[share] == {sample.id for sample in read_training_samples(data).train}
    assert drawn[0.1] < drawn[0.5] < drawn[1.0]


def test_several_sets_are_trained_together(triplets: Path, write_triplets: Callable[..., Path], tmp_path: Path) -> None:
    other = write_triplets(tmp_path / "t", [("train", "a ship", ("ship", 8, 8, 8, 8))])
    data = SampleData(train=[f"triplets:{triplets}", f"triplets:{other}"], validation=f"triplets:{triplets}")
    both = read_training_samples(data)
    assert (len(both.train), len(both.validation)) == (7, 2)
    assert both.fingerprint != read_training_samples(SampleData(train=[f"triplets:{triplets}"])).fingerprint


def test_nothing_has_to_be_measured(triplets: Path) -> None:
    data = SampleData(train=[f"triplets:{triplets}"], validation_split=None)
    assert read_training_samples(data).validation == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"split": "all", "validation_split": "all"}, r"8 samples are trained on and measured, s0 for one: give"),
        ({"split": "nowhere"}, "nowhere"),
        ({"validation": "triplets:nowhere"}, "nowhere"),
        ({"train": ["nothing"]}, "KIND:PATH"),
        ({"holdout": 0.999}, "nothing is left to train on"),
    ],
)
def test_data_that_cannot_be_used(triplets: Path, data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_training_samples(SampleData(**{"train": [f"triplets:{triplets}"], **data}))


@pytest.mark.parametrize(
    ("data", "message"),
    [({"absent": 0.5, "never_absent": ["shp"]}, "names no category of the data: shp")],
)
def test_absent_phrases_need_categories(make_sampler: Callable[..., SetSampler], data: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_sampler(**data)


def test_without_categories_nothing_can_be_called_absent(
    make_sample_recipe: MakeRecipe, write_triplets: Callable[..., Path], tmp_path: Path, tokenizer: PhraseTokenizer
) -> None:
    folder = write_triplets(tmp_path / "t", [("train", "a ship", ("ship", 8, 8, 8, 8))] * 3)
    recipe = make_sample_recipe(
        data={"train": f"triplets:{folder}", "validation_split": None, "absent": 0.5, "split": "train"}
    )
    with pytest.raises(UserError, match=r"fewer than two categories: give data\.absent=0"):
        SetSampler(recipe, samples_of(recipe).train, tokenizer, RS2Sam2Config.built_in())


def test_a_mask_of_another_size_names_its_sample(make_sampler: Callable[..., SetSampler], triplets: Path) -> None:
    sampler = make_sampler()
    original = (triplets / "0.mask.png").read_bytes()
    Image.fromarray(np.zeros((32, 64), np.uint8)).save(triplets / "0.mask.png")
    try:
        with pytest.raises(UserError, match="sample s0: its mask is 64 x 32, its image 64 x 64"):
            views_of(sampler, 6)
    finally:
        (triplets / "0.mask.png").write_bytes(original)
