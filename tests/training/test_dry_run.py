"""What a run would be: the numbers are those of the run."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from refersat.errors import UserError
from refersat.models.rs2sam2 import RS2Sam2Config
from refersat.training.batch import Batch
from refersat.training.devices import crowded
from refersat.training.dry_run import cost_of, dry_run, measured_speed
from refersat.training.initialise import empty_model
from refersat.training.objective import Trainee
from refersat.training.parts import checkpoint_activations, freeze
from refersat.training.recipe import LossOptions, Recipe
from refersat.training.setup import set_up

MakeRecipe = Callable[..., Recipe]


def test_what_is_told(make_sample_recipe: MakeRecipe) -> None:
    lines = dry_run(make_sample_recipe(parts={"trunk": {"train": False}, "fusion": {"learning_rate": 1e-4}}))
    table = {line.split()[0]: line for line in lines if line}
    assert "frozen" in table["trunk"]
    assert "0.0001" in table["fusion"]
    assert table["fusion"].endswith("fresh")
    assert "6 steps of 2 views of 32 px" in lines
    assert "6 samples, 2.0 epochs" in lines
    assert "measured every 3 steps: 2 phrases" in lines
    assert re.search(r"memory about [\d.]+ (MiB|GiB) for each process \(weights .*activations", "\n".join(lines))
    assert any(re.fullmatch(r"disk about [\d.]+ MiB \(3 states of [\d.]+ MiB, 3 models\)", line) for line in lines)
    assert re.search(r"time about \d+ s on cpu at [\d.e-]+ TFLOP/s", "\n".join(lines))


def test_mistakes_are_told(make_recipe: MakeRecipe) -> None:
    with pytest.raises(UserError, match="no setting named image_sice"):
        dry_run(make_recipe(model={"image_sice": 64}))


@pytest.mark.parametrize(
    ("changes", "processes", "message"),
    [
        (
            {"accumulate": 4},
            1,
            r"a batch of 2 cannot be shared evenly by 1 process in 4 parts .*: make .* multiple of 4",
        ),
        ({}, 3, "a batch of 2 cannot be shared evenly by 3 processes: make batch_size of every stage a multiple of 3"),
        ({"kind": "muon"}, 2, "muon works on whole matrices"),
        ({"compiled": True}, 2, "optimizer.compiled was never tried with shards"),
    ],
)
def test_what_cannot_be_shared_is_told_as_by_a_run(
    make_sample_recipe: MakeRecipe, changes: dict[str, Any], processes: int, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        dry_run(make_sample_recipe(optimizer=changes, sharded=True), processes=processes)


def trainee_of(recipe: Recipe, *, checkpointing: bool = False) -> Trainee:
    setup = set_up(recipe)
    with torch.device("meta"):
        trainee = Trainee(empty_model(setup.start.config), setup.categories, setup.loss)
    if checkpointing:
        checkpoint_activations(trainee.model)
    return trainee


def test_kept_memory_is_that_of_a_real_pass(make_sample_recipe: MakeRecipe) -> None:
    recipe = make_sample_recipe()
    setup = set_up(recipe)
    cost = cost_of(trainee_of(recipe), setup, setup.schedule.stages[0], processes=1)
    torch.manual_seed(0)
    trainee = Trainee(type(empty_model(setup.start.config))(setup.start.config), None, setup.loss)
    batch = Batch(
        pixel_values=torch.randn(2, 3, 32, 32),
        union_pixel_values=torch.randn(2, 3, 32, 32),
        input_ids=torch.full((2, 16), 7),
        attention_mask=torch.ones(2, 16, dtype=torch.bool),
        target=torch.ones(2, 1, 32, 32),
        present=torch.ones(2),
    )
    own, kept = {parameter.untyped_storage().data_ptr() for parameter in trainee.parameters()}, {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        trainee(batch)
    assert cost.activations == pytest.approx(sum(kept.values()), rel=0.15)


@pytest.mark.parametrize(
    ("changes", "less"),
    [
        ({"stages": [{"epochs": 2, "image_size": 32, "batch_size": 1}]}, (0.4, 0.6)),
        ({"optimizer": {"accumulate": 2}}, (0.4, 0.6)),
        ({"parts": {part: {"train": False} for part in ("trunk", "union_encoder")}}, (0.3, 0.95)),
    ],
    ids=["smaller batch", "in parts", "frozen"],
)
def test_what_saves_memory_shows(
    make_sample_recipe: MakeRecipe, changes: dict[str, Any], less: tuple[float, float]
) -> None:
    costs = []
    for recipe in (make_sample_recipe(), make_sample_recipe(**changes)):
        setup, trainee = set_up(recipe), trainee_of(recipe)
        freeze(trainee.model, recipe.parts, LossOptions())
        costs.append(cost_of(trainee, setup, setup.schedule.stages[0], processes=1).activations)
    assert less[0] < costs[1] / costs[0] < less[1]


def test_checkpointed_activations_are_not_kept(make_sample_recipe: MakeRecipe) -> None:
    recipe = make_sample_recipe(
        model={"candidate_width": 0, "selection": False}
    )  # whose activations are never checkpointed
    setup = set_up(recipe)
    kept, again = (
        cost_of(trainee_of(recipe, checkpointing=way), setup, setup.schedule.stages[0], processes=1)
        for way in (False, True)
    )
    assert again.activations < 0.8 * kept.activations
    assert again.operations > 1.1 * kept.operations


def test_speed_is_measured() -> None:
    assert 1e8 < measured_speed(torch.device("cpu"), torch.float32) < 1e14


def test_room_on_the_disk_is_what_a_run_takes(make_recipe: MakeRecipe, original: Path) -> None:
    told = next(line for line in dry_run(make_recipe()) if line.startswith("disk"))
    words = re.fullmatch(r"disk about ([\d.]+) MiB \(3 states of ([\d.]+) MiB, 3 models\)", told)
    assert words is not None
    state = (original / "states/step-0000006.pt").stat().st_size / 2**20
    model = (original / "best/model.safetensors").stat().st_size / 2**20
    assert float(words[2]) == pytest.approx(state, rel=0.2)  # a state of tiny tensors is to a tenth their names
    assert float(words[1]) == pytest.approx(3 * state + 3 * model, rel=0.2)


@pytest.mark.parametrize(("precision", "device"), [("bfloat16", "cpu"), ("bfloat16", "cuda"), ("float32", "cpu")])
def test_the_attention_that_will_run_is_what_is_counted(
    make_sample_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, precision: str, device: str
) -> None:
    def stop(config: RS2Sam2Config) -> None:
        raise InterruptedError(str(config._attn_implementation))

    monkeypatch.setattr("refersat.training.dry_run.choose_device", lambda name: torch.device(device))
    monkeypatch.setattr("refersat.training.dry_run.empty_model", stop)
    with pytest.raises(InterruptedError) as built:
        dry_run(make_sample_recipe(optimizer={"precision": precision}))
    assert (str(built.value) == "eager") == (precision == "bfloat16" and device == "cpu")


@pytest.mark.parametrize(
    ("cores", "load", "threads", "fewer"),
    [(2, 0.1, 2, None), (2, 1.1, 2, 1), (2, 9.0, 2, 1), (2, 9.0, 1, None), (16, 5.0, 16, 11), (16, 5.0, 8, None)],
)
def test_threads_that_would_stand_in_each_others_way_are_told(
    monkeypatch: pytest.MonkeyPatch, cores: int, load: float, threads: int, fewer: int | None
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("torch.get_num_threads", lambda: threads)
    lines = crowded(torch.device("cpu"))
    assert [line.rpartition("=")[2] for line in lines] == ([] if fewer is None else [str(fewer)])
    assert crowded(torch.device("cuda")) == []


@pytest.mark.parametrize(("fast", "precision"), [(False, "bfloat16"), (True, "bfloat16"), (False, "float32")])
def test_a_slow_number_format_is_told(
    make_sample_recipe: MakeRecipe, monkeypatch: pytest.MonkeyPatch, fast: bool, precision: str
) -> None:
    monkeypatch.setattr("refersat.training.devices.computes_in_bfloat16", lambda device: fast)
    lines = dry_run(make_sample_recipe(optimizer={"precision": precision}))
    slow = [line for line in lines if "is many times slower" in line]
    assert len(slow) == (not fast and precision == "bfloat16")
