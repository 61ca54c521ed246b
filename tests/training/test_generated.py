"""Generated phrases: batches are the same for the same seed and step, with targets that are what the phrase names."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from refersat.data.coco import read_coco
from refersat.errors import UserError
from refersat.models.preprocess import IMAGENET_MEAN, IMAGENET_STD
from refersat.models.rs2sam2 import RS2Sam2Config
from refersat.text.expressions import Expression, SceneObject, sample_expressions
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training import generated
from refersat.training.batch import Batch
from refersat.training.generated import PhraseSampler, check_outlines
from refersat.training.recipe import OptimizerOptions, Recipe, Stage
from refersat.training.schedule import Schedule
from refersat.training.stream import Share, stream

TURNS_ONLY = {"crop": 0, "colour": 0}


@pytest.fixture
def make_sampler(
    make_recipe: Callable[..., Recipe], tiny_config: Callable[..., RS2Sam2Config], tokenizer: PhraseTokenizer
) -> Callable[..., PhraseSampler]:
    def make(**changes: Any) -> PhraseSampler:
        recipe = make_recipe(**changes)
        return PhraseSampler(recipe, read_coco(recipe.data.annotations), tokenizer, tiny_config())

    return make


def batch_of(sampler: PhraseSampler, step: int, *, size: int, image_size: int, phrases: int = 1) -> Batch:
    stage = Stage(steps=step + 1, image_size=image_size, batch_size=size, phrases_per_view=phrases)
    schedule = Schedule((stage,), OptimizerOptions(), dropped=0, validate_every=1, save_every=1, samples=None)
    (batch,) = sampler.batches(step, schedule, [range(size)])
    return batch


def assert_equal(first: Batch, second: Batch) -> None:
    for field in fields(Batch):
        one, other = getattr(first, field.name), getattr(second, field.name)
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other


def pixels_of(batch: Batch) -> NDArray[np.uint8]:
    """The views (B, S, S, 3) that `pixel_values` were made of."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return ((batch.pixel_values * std + mean) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def test_a_batch_depends_on_seed_and_step_alone(make_sampler: Callable[..., PhraseSampler]) -> None:
    sampler = make_sampler()
    batch = batch_of(sampler, 3, size=4, image_size=64)
    batch_of(sampler, 7, size=2, image_size=32)
    assert_equal(batch, batch_of(sampler, 3, size=4, image_size=64))
    assert_equal(batch, batch_of(make_sampler(), 3, size=4, image_size=64))
    others = [
        batch_of(sampler, 4, size=4, image_size=64),
        batch_of(make_sampler(seed=1), 3, size=4, image_size=64),
    ]
    assert not any(torch.equal(batch.pixel_values, other.pixel_values) for other in others)


def test_a_sampler_can_be_sent_to_another_process(make_sampler: Callable[..., PhraseSampler]) -> None:
    sampler = make_sampler()
    sent = pickle.loads(pickle.dumps(sampler))
    assert_equal(batch_of(sent, 0, size=2, image_size=32), batch_of(sampler, 0, size=2, image_size=32))


def test_images_that_are_not_kept_give_the_same_batch(
    make_sampler: Callable[..., PhraseSampler], monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = batch_of(make_sampler(), 0, size=4, image_size=32)
    monkeypatch.setattr(generated, "KEPT_BYTES", 0)
    assert_equal(kept, batch_of(make_sampler(), 0, size=4, image_size=32))


@pytest.mark.parametrize("side", [32, 64])
def test_sizes(make_sampler: Callable[..., PhraseSampler], side: int) -> None:
    batch = batch_of(make_sampler(), 0, size=3, image_size=side)
    assert batch.pixel_values.shape == (3, 3, side, side)
    assert batch.union_pixel_values.shape == (3, 3, 32, 32)
    assert batch.input_ids.shape == batch.attention_mask.shape
    assert batch.attention_mask.dtype == torch.bool
    assert batch.target.shape == (3, 1, side, side)
    assert batch.labels.shape == (3, side // 4, side // 4)


def test_phrases_share_a_view(make_sampler: Callable[..., PhraseSampler], tokenizer: PhraseTokenizer) -> None:
    sampler = make_sampler()
    batch = batch_of(sampler, 0, size=2, image_size=64, phrases=3)
    assert len(batch.pixel_values) == len(batch.union_pixel_values) == len(batch.labels) == 2
    assert len(batch.input_ids) == len(batch.attention_mask) == len(batch.target) == len(batch.present) == 6
    shown = batch.labels.repeat_interleave(3, 0).repeat_interleave(4, 1).repeat_interleave(4, 2) > 0
    for target, objects in zip(batch.target[:, 0].bool(), shown, strict=True):
        assert (target & objects).sum() >= 0.8 * target.sum()  # each phrase is about the view that it stands for


def test_scenes_are_always_the_same(make_sampler: Callable[..., PhraseSampler]) -> None:
    seen = list(make_sampler().scenes(6))
    again = list(make_sampler().scenes(8, pixels=False))
    assert [(view.scene.objects, context) for view, context in seen] == [
        (view.scene.objects, context) for view, context in again[:6]
    ]
    assert len({view.scene.objects for view, _ in again}) > 1
    for view, context in seen:
        assert view.pixels.shape == (view.scene.height, view.scene.width, 3)
        assert {item.category for item in view.scene.objects} <= context


def test_a_batch_may_have_no_phrases(make_sampler: Callable[..., PhraseSampler]) -> None:
    batch = batch_of(make_sampler(), 0, size=2, image_size=32, phrases=0)
    assert len(batch.pixel_values) == len(batch.labels) == 2
    assert len(batch.input_ids) == len(batch.target) == len(batch.present) == len(batch.named) == 0


def test_small_objects_weigh_more_than_large_ones_and_the_ground_least(
    make_sampler: Callable[..., PhraseSampler], write_data_set: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    made = write_data_set(tmp_path / "data", [[("ship", 0, 0, 8, 8), ("storage tank", 16, 16, 40, 40)]])
    batch = batch_of(make_sampler(data=made, augment=TURNS_ONLY), 0, size=4, image_size=64)
    ground, ship, tank = (batch.label_weights[batch.labels == label].unique() for label in (0, 1, 2))
    assert len(ground) == len(ship) == len(tank) == 1
    assert 0 < ground < tank < ship


def test_edges_lead_from_every_cell_to_the_box_of_its_object(
    make_sampler: Callable[..., PhraseSampler], write_data_set: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    data = write_data_set(tmp_path, [[("ship", 8, 16, 24, 8)]])
    augment = {"crop": 0.0, "flip": False, "rotate": False}
    batch = batch_of(make_sampler(data=data, augment=augment), 0, size=1, image_size=64)
    expected = torch.zeros(4, 16, 16)
    for row in range(4, 6):
        for column in range(2, 8):
            distances = (column + 0.5 - 2, row + 0.5 - 4, 8 - column - 0.5, 6 - row - 0.5)
            expected[:, row, column] = torch.tensor(distances)
    assert torch.equal(batch.edges[0], expected)


def test_rare_categories_come_more_often_when_asked(
    make_sampler: Callable[..., PhraseSampler], write_data_set: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    ship, tank = [("ship", 8, 8, 16, 16)], [("storage tank", 8, 8, 16, 16)]
    data = write_data_set(tmp_path, [ship, ship, ship, ship, ship, ship, ship, tank])

    def share(rare: float) -> float:
        sampler = make_sampler(data=data, rare=rare, augment=TURNS_ONLY)
        labels = torch.cat([batch_of(sampler, k, size=8, image_size=32).labels for k in range(40)])
        return float((labels == 2).flatten(1).any(1).float().mean())

    # One in eight images: drawn (0.5 / 0.125) ** 0.5 = 2 times as often, 2 of 9.
    assert share(0.0) == pytest.approx(1 / 8, abs=0.06)
    assert share(0.5) == pytest.approx(2 / 9, abs=0.06)


def test_the_target_is_empty_where_the_phrase_names_nothing(make_sampler: Callable[..., PhraseSampler]) -> None:
    sampler = make_sampler()
    present, painted = [], []
    for index in range(30):
        batch = batch_of(sampler, index, size=4, image_size=64)
        present += batch.present.tolist()
        painted += batch.target.flatten(1).any(1).float().tolist()
        assert set(batch.target.unique().tolist()) <= {0.0, 1.0}
    assert present == painted
    assert 0.1 < np.mean(present) < 0.9


def test_labels_and_targets_lie_on_the_objects(
    make_sampler: Callable[..., PhraseSampler], ground: tuple[int, ...], colours: dict[str, tuple[int, ...]]
) -> None:
    # Corners are multiples of 8 pixels and views are whole: nothing is resampled, so colours tell the categories.
    sampler = make_sampler(augment=TURNS_ONLY)
    known = np.array([ground, *colours.values()])
    for index in range(10):
        batch = batch_of(sampler, index, size=4, image_size=64)
        shown = np.argmax((pixels_of(batch)[..., None, :] == known).all(-1), axis=-1)
        np.testing.assert_array_equal(batch.labels.numpy(), shown[:, ::4, ::4])
        assert not (batch.target[:, 0].bool().numpy() & (shown == 0)).any()


def test_the_named_category_is_that_of_the_phrase(
    make_sampler: Callable[..., PhraseSampler], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Expression] = []

    def note(*args: Any, **options: Any) -> list[Expression]:
        found = sample_expressions(*args, **options)
        drawn.extend(found)
        return found

    monkeypatch.setattr(generated, "sample_expressions", note)
    sampler = make_sampler()
    batch = batch_of(sampler, 0, size=8, image_size=32, phrases=2)
    assert [sampler.categories[index] for index in batch.named] == [expression.category for expression in drawn]
    assert {expression.category for expression in drawn if not expression.targets}  # also where it is not there


def test_the_target_is_what_the_expression_names(
    make_sampler: Callable[..., PhraseSampler],
    colours: dict[str, tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def leftmost_ship(objects: Sequence[SceneObject], *args: Any, **options: Any) -> list[Expression]:
        ships = [index for index, item in enumerate(objects) if item.category == "ship"]
        if not ships:
            return []
        target = min(ships, key=lambda index: objects[index].box[0])
        drawn = sample_expressions(objects, *args, **options)[0]
        return [Expression("the leftmost ship", "extreme", (target,), "ship", drawn.meaning)]

    monkeypatch.setattr(generated, "sample_expressions", leftmost_ship)
    sampler = make_sampler(augment=TURNS_ONLY)
    for index in range(10):
        batch = batch_of(sampler, index, size=4, image_size=64)
        ships = (pixels_of(batch) == colours["ship"]).all(-1)
        for ship, target in zip(ships, batch.target[:, 0].bool().numpy(), strict=True):
            assert target.any()
            assert not (target & ~ship).any()
            columns = np.flatnonzero(target.any(axis=0))
            assert columns[0] == np.flatnonzero(ship.any(axis=0))[0]
            assert ship[:, columns[0]].sum() == target[:, columns[0]].sum()


def test_phrases_are_of_the_view_and_not_of_the_image(
    make_sampler: Callable[..., PhraseSampler], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[tuple[float, ...], ...]] = []

    def note(objects: Sequence[SceneObject], *args: Any, **options: Any) -> list[Expression]:
        seen.append(tuple(item.box for item in objects))
        return sample_expressions(objects, *args, **options)

    monkeypatch.setattr(generated, "sample_expressions", note)
    batch_of(make_sampler(augment={"crop": 0}), 0, size=64, image_size=32)
    assert len(set(seen)) > 6  # more than there are images: flips and turns move the boxes


def test_a_damaged_image_is_one_line(
    make_sampler: Callable[..., PhraseSampler],
    make_recipe: Callable[..., Recipe],
    write_data_set: Callable[..., SimpleNamespace],
    tmp_path: Path,
) -> None:
    made = write_data_set(tmp_path / "data", [[("ship", 8, 8, 16, 8)]])
    sampler = make_sampler(data=made)
    image = made.images / "0.png"
    image.write_bytes(image.read_bytes()[:60])
    with pytest.raises(UserError, match=r"^cannot read the training image [^\n]*0\.png: [^\n]*$"):
        next(stream(sampler, Schedule.of(make_recipe(data=made), None), Share(0, 1), steps=range(1)))


def test_data_of_which_nothing_can_be_said(
    make_sampler: Callable[..., PhraseSampler],
    write_data_set: Callable[..., SimpleNamespace],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(generated, "VIEWS_TO_TRY", 10)
    made = write_data_set(tmp_path / "data", [[("ship", 8, 8, 2, 2)]])
    never_absent = ["ship", "storage tank"]
    sampler = make_sampler(data=made, never_absent=never_absent)
    with pytest.raises(UserError, match="objects are too small"):
        batch_of(sampler, 0, size=1, image_size=32)


@pytest.fixture
def spoil(write_data_set: Callable[..., SimpleNamespace]) -> Callable[[SimpleNamespace, str], None]:
    def spoil(made: SimpleNamespace, fault: str) -> None:
        image = made.images / "0.png"
        if fault == "no folder":
            made.images.rename(made.images.with_name("elsewhere"))
        elif fault == "missing":
            image.unlink()
        elif fault == "no image":
            image.write_text("not an image")
        else:
            write_data_set(made.images / "other", [[]], side=32)
            (made.images / "other/images/0.png").replace(image)

    return spoil


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no folder", r"there is no folder .*images"),
        ("missing", r"0\.png is missing"),
        ("no image", r"0\.png is not an image"),
        ("wrong size", r"0\.png is 32 x 32, but its outlines are for 64 x 64"),
    ],
)
def test_images_are_checked_before_training(
    make_recipe: Callable[..., Recipe],
    write_data_set: Callable[..., SimpleNamespace],
    spoil: Callable[[SimpleNamespace, str], None],
    tmp_path: Path,
    fault: str,
    message: str,
) -> None:
    made = write_data_set(tmp_path / "data", [[("ship", 8, 8, 16, 8)], []])
    recipe = make_recipe(data=made)
    check_outlines(recipe.data, read_coco(made.annotations))
    spoil(made, fault)
    with pytest.raises(UserError, match=message):
        check_outlines(recipe.data, read_coco(made.annotations))


def test_data_without_objects(
    make_recipe: Callable[..., Recipe], write_data_set: Callable[..., SimpleNamespace], tmp_path: Path
) -> None:
    made = write_data_set(tmp_path / "data", [[], []])
    with pytest.raises(UserError, match="has no image with objects"):
        check_outlines(make_recipe(data=made).data, read_coco(made.annotations))


def test_a_category_that_is_not_there(make_recipe: Callable[..., Recipe], data_set: SimpleNamespace) -> None:
    recipe = make_recipe(never_absent=["shipp"])
    with pytest.raises(UserError, match="shipp; there are ship, storage tank"):
        check_outlines(recipe.data, read_coco(data_set.annotations))
