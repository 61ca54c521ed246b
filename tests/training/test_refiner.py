"""A refiner's own stage: what the model draws is kept, cut into windows, and drawn again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from refersat.data.coco import read_coco
from refersat.errors import UserError
from refersat.models.mask_refiner import MaskRefiner
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.drawn_views import CELL, DrawnViews, look
from refersat.training.generated import PhraseSampler
from refersat.training.loop import train
from refersat.training.objective import refinement_loss
from refersat.training.recipe import OptimizerOptions, Recipe, Stage
from refersat.training.refiner_sampler import RefinerBatch, RefinerSampler, window_cells
from refersat.training.schedule import Schedule
from tests.training.runs import MakeRecipe, log_of, losses_of

SIDE = 64
VIEWS = 8
FULL_PRECISION = torch.autocast("cpu", enabled=False)


@pytest.fixture
def drawn(
    make_recipe: MakeRecipe,
    tiny_config: Callable[..., RS2Sam2Config],
    tokenizer: PhraseTokenizer,
    tmp_path: Path,
) -> DrawnViews:
    recipe = make_recipe()
    torch.manual_seed(0)
    config = tiny_config(selection=True, refiner_width=8)
    sampler = PhraseSampler(recipe, read_coco(recipe.data.annotations), tokenizer, config)
    told: list[int] = []
    look(
        RS2Sam2Model(config).eval(),
        sampler,
        tokenizer,
        tmp_path / "drawn",
        count=VIEWS,
        image_size=SIDE,
        masks=2,
        precision=FULL_PRECISION,
        advance=told.append,
    )
    assert told == list(range(1, VIEWS + 1))
    return DrawnViews(tmp_path / "drawn")


def batches(drawn: DrawnViews, step: int, parts: list[range]) -> list[RefinerBatch]:
    stage = Stage(steps=9, image_size=SIDE, batch_size=6, phrases_per_view=2, only="refiner")
    schedule = Schedule((stage,), OptimizerOptions(), dropped=0, validate_every=1, save_every=1, samples=None)
    made: Any = RefinerSampler(drawn, seed=3).batches(step, schedule, parts)
    return made


def test_what_is_kept_are_the_targets(drawn: DrawnViews) -> None:
    """The objects of the tiny data set are filled with colours that the ground has not: the pixels tell the mask."""
    checked = 0
    for mask in drawn.masks:
        whole = slice(0, SIDE // CELL)
        pixels, features, logits = drawn.window(mask, whole, whole)
        assert pixels.shape == (3, SIDE, SIDE)
        assert features.shape[1:] == logits.shape[1:] == (SIDE // CELL, SIDE // CELL)
        colour = np.ptp(pixels.astype(np.float32), axis=0)
        inside = ~F.max_pool2d(torch.from_numpy(~drawn.target(mask))[None].float(), 3, 1, 1)[0].bool().numpy()
        assert drawn.target(mask).any()
        if inside.any() and not inside.all():  # edges are mixed with the ground
            assert colour[inside].min() > colour.min() + 0.5
            checked += 1
    assert checked > 5


def test_a_window_shows_the_same_place_of_everything(tmp_path: Path) -> None:
    """Every array says where its cells and pixels are."""
    cells = np.arange((SIDE // CELL) ** 2, dtype=np.float16).reshape(1, 1, SIDE // CELL, SIDE // CELL)
    pixels = cells.repeat(CELL, 2).repeat(CELL, 3).repeat(3, 1)
    target = np.zeros((SIDE, SIDE), np.bool_)
    target[40:48, 8:24] = True
    kept = {"pixels": pixels, "features": cells, "drawn": cells, "targets": np.packbits(target)[None, None]}
    for name, array in kept.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "drawn.json").write_text('[{"view": 0, "place": 0, "name": "a.png", "phrase": "the ship"}]')
    side = window_cells(SIDE)
    places = set()
    for step in range(20):
        (batch,) = batches(DrawnViews(tmp_path), step, [range(6)])
        assert batch.pixels.shape == (6, 3, CELL * side, CELL * side)
        assert torch.equal(batch.drawn, batch.features)
        assert torch.equal(F.interpolate(batch.drawn, scale_factor=CELL), batch.pixels[:, :1])
        expected = torch.from_numpy(target).flatten()
        coarse = torch.from_numpy(target[::CELL, ::CELL]).flatten()
        assert expected.sum() == coarse.sum() * CELL**2
        assert torch.equal(coarse[batch.pixels[:, :1].long()], batch.target.bool())
        assert batch.target.flatten(1).any(1).all()
        places |= set(batch.drawn[:, 0, 0, 0].tolist())
    assert len(places) > 10


def test_what_the_disk_has_no_room_for_is_said_before(
    make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = [
        {"steps": 1, "image_size": 32, "batch_size": 2},
        {"steps": 1, "image_size": 64, "batch_size": 2, "only": "refiner", "views": 5},
    ]
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"draws of 5 views takes 0\.0 GiB .* give fewer `views`"):
        train(make_recipe(model={"refiner_width": 8}, stages=stages), tmp_path / "run")


def test_batches_follow_from_the_step_and_split_anywhere(drawn: DrawnViews) -> None:
    (whole,) = batches(drawn, 4, [range(6)])
    halves = batches(drawn, 4, [range(2), range(2, 6)])
    (other,) = batches(drawn, 5, [range(6)])
    for name in ("pixels", "features", "drawn", "target"):
        assert torch.equal(torch.cat([getattr(half, name) for half in halves]), getattr(whole, name))
    assert whole.phrases == halves[0].phrases + halves[1].phrases
    assert not torch.equal(whole.pixels, other.pixels)


def test_what_was_drawn_is_missed_when_it_is_gone(drawn: DrawnViews, tmp_path: Path) -> None:
    (tmp_path / "drawn" / "features.npy").write_bytes(b"cut")
    with pytest.raises(UserError, match="restore it or begin anew"):
        DrawnViews(tmp_path / "drawn")


def test_the_loss_knows_a_better_mask() -> None:
    target = torch.zeros(3, 1, 32, 32)
    target[:, :, 8:16, 8:20] = 1
    right = 8 * (2 * target - 1)
    shifted = right.roll(3, -1)
    none = torch.full_like(target, -8.0)
    losses = [refinement_loss(each, target) for each in (right, shifted, none)]
    assert (losses[0] < 0.05).all()
    assert (losses[0] < losses[1]).all()
    assert (losses[1] < losses[2]).all()
    small = F.interpolate(target, scale_factor=0.5)
    torch.testing.assert_close(
        refinement_loss(F.interpolate(shifted, scale_factor=0.5), small)[0], losses[1][0], rtol=0.5, atol=0
    )


def test_it_learns_to_follow_edges_that_cells_are_too_coarse_for(tmp_path: Path) -> None:
    """Bright bars six pixels wide, drawn in cells of four: only the pixels tell where they are."""
    rng = np.random.default_rng(0)
    count = 24
    targets = np.zeros((count, SIDE, SIDE), np.bool_)
    for target in targets:
        row, column = rng.integers(8, 50, size=2)
        target[row : row + 6, column - 8 : column + 14] = True
    cells = targets.reshape(count, SIDE // CELL, CELL, SIDE // CELL, CELL).mean((2, 4))
    np.save(tmp_path / "pixels.npy", np.repeat(targets[:, None], 3, axis=1).astype(np.float16))
    np.save(tmp_path / "features.npy", np.zeros((count, 5, SIDE // CELL, SIDE // CELL), np.float16))
    np.save(tmp_path / "drawn.npy", (10 * cells - 2)[:, None].astype(np.float16))
    np.save(tmp_path / "targets.npy", np.packbits(targets.reshape(count, 1, -1), axis=2))
    masks = [{"view": view, "place": 0, "name": "a.png", "phrase": "the bar"} for view in range(count)]
    (tmp_path / "drawn.json").write_text(json.dumps(masks))
    views = DrawnViews(tmp_path)
    torch.manual_seed(0)
    refiner = MaskRefiner(5, 8)
    optimizer = torch.optim.AdamW(refiner.parameters(), 1e-2)
    for step in range(120):
        (batch,) = batches(views, step, [range(6)])
        loss = refinement_loss(refiner(batch.drawn, refiner.look(batch.pixels, batch.features)), batch.target).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    (batch,) = batches(views, 999, [range(6)])
    with torch.no_grad():
        refined = refiner(batch.drawn, refiner.look(batch.pixels, batch.features)) > 0
    coarse = F.interpolate(batch.drawn, scale_factor=CELL, mode="bilinear") > 0
    assert overlap(refined, batch.target) > 0.9
    assert overlap(coarse, batch.target) < 0.8


def overlap(masks: torch.Tensor, target: torch.Tensor) -> float:
    truth = target > 0
    return float((masks & truth).sum() / (masks | truth).sum())


@pytest.fixture
def refining(make_recipe: MakeRecipe) -> Recipe:
    stages = [
        {"steps": 2, "image_size": 32, "batch_size": 2, "phrases_per_view": 2},
        {"steps": 12, "image_size": 64, "batch_size": 4, "phrases_per_view": 2, "only": "refiner", "views": 12},
    ]
    return make_recipe(
        model={"refiner_width": 8},
        stages=stages,
        validate_every=14,
        optimizer={"learning_rate": 2e-2, "warm_up": 2, "average": None},
    )


def test_a_refiner_has_a_stage_of_its_own_and_nothing_else_changes(refining: Recipe, tmp_path: Path) -> None:
    whole = train(refining, tmp_path / "whole")
    first = train(refining.model_copy(update={"stages": refining.stages[:1]}), tmp_path / "first")
    steps = [line for line in log_of(tmp_path / "whole") if "loss" in line]
    assert all("refinement" not in line for line in steps[:2])
    assert all(line["refinement"] == pytest.approx(line["loss"]) for line in steps[2:])
    refined, before = (RS2Sam2Model.from_pretrained(each).state_dict() for each in (whole, first))
    changed = {name.split(".")[0] for name, value in refined.items() if not torch.equal(value, before[name])}
    assert changed == {"refiner"}
    assert not before["refiner.correction.weight"].any(), "a fresh one changes nothing"


def test_a_stopped_run_goes_on_with_what_was_drawn(refining: Recipe, tmp_path: Path) -> None:
    short = refining.model_copy(
        update={
            "stages": [refining.stages[0], refining.stages[1].model_copy(update={"steps": 4})],
            "save_every": refining.validate_every.model_copy(update={"steps": 1}),
        }
    )
    train(short, tmp_path / "whole")

    def crash(step: int, _: dict[str, float]) -> None:
        if step == 4:
            raise RuntimeError("the power is gone")

    with pytest.raises(RuntimeError, match="power"):
        train(short, tmp_path / "stopped", report=crash)
    written = (tmp_path / "stopped" / "drawn-0000002" / "drawn.npy").stat().st_mtime_ns
    train(short, tmp_path / "stopped", resume=True)
    assert (tmp_path / "stopped" / "drawn-0000002" / "drawn.npy").stat().st_mtime_ns == written
    assert losses_of(tmp_path / "stopped")[-2:] == losses_of(tmp_path / "whole")[-2:]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"selection": True}, r"refiner needs a model that has one: give model\.refiner_width=16"),
        ({"selection": True, "refiner_width": 8}, "begin with a stage that trains all"),
    ],
)
def test_a_refiner_needs_a_model_that_draws(
    make_recipe: MakeRecipe, tmp_path: Path, model: dict[str, Any], message: str
) -> None:
    stage = {"steps": 3, "image_size": 64, "batch_size": 2, "only": "refiner"}
    with pytest.raises(UserError, match=message):
        train(make_recipe(model=model, stages=[stage]), tmp_path / "run")
