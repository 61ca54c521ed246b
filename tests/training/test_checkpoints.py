"""States: all that a run needs, the last few of them, and never half of one."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from refersat.errors import UserError
from refersat.training.checkpoints import Checkpoints, Learner
from refersat.training.muon import Muon
from refersat.training.parameters import MovingAverage


def learner(seed: int, width: int = 4) -> Any:
    torch.manual_seed(seed)
    trainee: Any = nn.Sequential(nn.Linear(width, width), nn.Dropout(0.5), nn.Linear(width, 1))
    optimizer = torch.optim.AdamW(trainee.parameters(), lr=0.1)
    return Learner(trainee, optimizer, MovingAverage(trainee, 0.9))


def learn(one: Learner, steps: int) -> list[float]:
    losses = []
    for _ in range(steps):
        loss = one.trainee(torch.randn(8, 4)).square().mean()  # data and dropout by the generator of the process
        loss.backward()
        one.optimizer.step()
        one.optimizer.zero_grad(set_to_none=True)
        one.average.update(one.trainee)
        losses.append(loss.item())
    return losses


def test_a_state_is_all_that_a_run_goes_on_from(tmp_path: Path) -> None:
    first = learner(1)
    learn(first, 3)
    Checkpoints(tmp_path / "states").save(3, {**first.state(), "step": 3})
    expected = learn(first, 3)
    second = learner(2)
    learn(second, 1)
    state = Checkpoints(tmp_path / "states").load()
    assert state["step"] == 3
    second.load(state)
    assert learn(second, 3) == expected
    assert all(torch.equal(first.average.values[name], value) for name, value in second.average.values.items())
    assert first.average.updates == second.average.updates == 6


@pytest.mark.parametrize("fused", [True, False])
def test_counts_of_steps_lie_where_the_optimizer_reads_them(fused: bool) -> None:
    one = learner(1)
    learn(one, 2)
    state = one.state()
    away = learner(1)
    away.trainee.to("meta")  # as a GPU
    optimizer = torch.optim.AdamW(away.trainee.parameters())
    optimizer.defaults["fused"] = fused
    Learner(away.trainee, optimizer, MovingAverage(away.trainee, 0.9)).load(state)
    kept = next(iter(optimizer.state.values()))
    assert kept["exp_avg"].device.type == "meta"
    assert kept["step"].device.type == ("meta" if fused else "cpu")


def test_a_state_of_something_else_is_told_and_changes_nothing() -> None:
    state = learner(1).state()
    wider = learner(2, width=5)
    before = {name: value.clone() for name, value in wider.trainee.state_dict().items()}
    with pytest.raises(
        UserError, match=r"another model, other categories or other terms of the loss: .*0\.bias.* differ"
    ):
        wider.load(state)
    assert all(torch.equal(before[name], value) for name, value in wider.trainee.state_dict().items())


def frozen(one: Learner) -> Learner:
    one.trainee[0].requires_grad_(False)
    return Learner(one.trainee, one.optimizer, MovingAverage(one.trainee, 0.9))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            lambda one: Learner(one.trainee, one.optimizer, MovingAverage(one.trainee, None)),
            "optimizer.average a number",
        ),
        (
            lambda one: Learner(one.trainee, Muon(one.trainee.parameters()), one.average),
            "another optimizer.kind: adamw",
        ),
        (frozen, r"other parts that train: 0\.bias, 0\.weight differ"),
    ],
    ids=["average", "optimizer", "parts"],
)
def test_what_cannot_be_changed_on_the_way_is_named(changed: Callable[[Learner], Learner], told: str) -> None:
    first = learner(1)
    learn(first, 1)
    second = changed(learner(2))
    before = second.trainee[2].weight.clone()
    with pytest.raises(UserError, match=rf"the state is of a run with {told}\. Give the recipe that it was begun with"):
        second.load(first.state())
    assert torch.equal(second.trainee[2].weight, before)


def test_only_the_last_states_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "states", keep=2)
    steps = [3, 10, 200, 1_000, 10_000_000]
    for step in steps:
        checkpoints.save(step, {"step": step})
    assert checkpoints.steps() == [1_000, 10_000_000]
    assert checkpoints.load() == {"step": 10_000_000}
    assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["step-0001000.pt", "step-10000000.pt"]


def test_what_was_cut_short_is_no_state(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(5, {"step": 5})
    (tmp_path / "step-0000009.tmp").write_bytes((tmp_path / "step-0000005.pt").read_bytes()[:50])
    assert checkpoints.steps() == [5]
    assert checkpoints.load() == {"step": 5}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/3"),
    ],
    ids=["full", "quota", "inside PyTorch"],
)
def test_a_full_disk_leaves_the_states_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(content: Any, file: Any) -> None:
        file.write(b"half of it")
        raise error

    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(5, {"step": 5})
    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(
        UserError, match=r"cannot write a state to .*; the state after step 5 is whole: --resume goes on"
    ):
        checkpoints.save(6, {"step": 6})
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000005.pt"]
    assert checkpoints.load() == {"step": 5}


def test_a_file_that_grows_too_large(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")  # limits are of Unix
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, {"step": 5})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # a real failure, halfway through the file
    try:
        with pytest.raises(UserError, match="the disk is full; the state after step 5 is whole"):
            checkpoints.save(6, {"weights": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["step-0000005.pt"]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and so on"], ids=repr)
def test_a_file_that_is_no_state(tmp_path: Path, content: bytes) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(4, {"step": 4})
    (tmp_path / "step-0000008.pt").write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*step-0000008\.pt: \w+.*; delete it to go on from step 4"):
        checkpoints.load()


@pytest.mark.parametrize("content", [{"weights": 1}, [1, 2]], ids=str)
def test_a_file_of_something_else(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "step-0000008.pt")
    with pytest.raises(UserError, match=r"step-0000008\.pt is no state of a run$"):
        Checkpoints(tmp_path).load()


def test_no_state_and_a_damaged_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no state was saved in"):
        Checkpoints(tmp_path / "nowhere").load()
    checkpoints = Checkpoints(tmp_path)
    for step in (4, 8):
        checkpoints.save(step, {"weights": torch.zeros(1000)})
    content = bytearray((tmp_path / "step-0000008.pt").read_bytes())
    for place in random.Random(0).sample(range(len(content)), 200):
        content[place] ^= 0xFF
    (tmp_path / "step-0000008.pt").write_bytes(bytes(content))
    with pytest.raises(UserError, match=r"cannot read .*step-0000008\.pt.*; delete it to go on from step 4"):
        checkpoints.load()
