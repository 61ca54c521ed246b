"""Compiled training: the same losses and gradients, no compilation for a phrase of another length, the same names."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from functorch.compile import make_boxed_func
from torch._dynamo.backends.common import aot_autograd
from torch._inductor.cpp_builder import get_cpp_compiler
from torch._inductor.exc import InvalidCxxCompiler

from refersat.cli.main import main
from refersat.models.optimized.compiled import compile_training
from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from refersat.training.batch import Batch
from refersat.training.loop import train
from refersat.training.objective import Trainee
from refersat.training.parts import checkpoint_activations, freeze_idle
from refersat.training.recipe import LossOptions, Recipe
from tests.training.batches import make_batch
from tests.training.runs import MakeRecipe, fingerprint, losses_of

LENGTHS = (6, 9, 2, 16)
STAGES = [{"steps": 3, "image_size": 32, "batch_size": 2, "phrases_per_view": 2}]


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Counting:
    """A backend that runs the graphs of both passes as they are, and counts them."""

    def __init__(self) -> None:
        self.forward = 0
        self.backward = 0
        self.backend: Any = aot_autograd(fw_compiler=self._forward, bw_compiler=self._backward)

    def _forward(self, graph: torch.fx.GraphModule, _: Any) -> Any:
        self.forward += 1
        return make_boxed_func(graph.forward)

    def _backward(self, graph: torch.fx.GraphModule, _: Any) -> Any:
        self.backward += 1
        return make_boxed_func(graph.forward)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> Counting:
    """What everything is compiled with."""
    counting, compile_ = Counting(), torch.compile

    def replaced(*of: Any, backend: str, options: Any = None, **how: Any) -> Any:
        return compile_(*of, backend=counting.backend, **how)

    monkeypatch.setattr(torch, "compile", replaced)
    return counting


MakeTrainee = Callable[..., Trainee]


@pytest.fixture
def make_trainee(tiny_config: Callable[..., RS2Sam2Config]) -> MakeTrainee:
    """Makes a trainee in training mode, the same every time."""

    def make(*, checkpointed: bool = False) -> Trainee:
        torch.manual_seed(0)
        model = RS2Sam2Model(tiny_config(union_layers=2))
        if checkpointed:
            checkpoint_activations(model)
        freeze_idle(model, LossOptions())
        return Trainee(model, 2, LossOptions()).train()

    return make


def batch_of(length: int) -> Batch:
    ids, heard = torch.full((2, length), 5), torch.ones(2, length, dtype=torch.bool)
    heard[1, -1] = False
    return replace(make_batch([1.0, 0.0]), input_ids=ids, attention_mask=heard)


def step(trainee: Trainee, length: int) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    trainee.zero_grad()
    loss, _, _ = trainee(batch_of(length))
    loss.backward()
    return loss.detach(), {name: each.grad for name, each in trainee.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("checkpointed", [False, True], ids=["kept", "checkpointed"])
def test_a_new_length_of_the_phrases_compiles_neither_pass_anew(
    make_trainee: MakeTrainee, counting: Counting, checkpointed: bool
) -> None:
    plain, compiled = make_trainee(checkpointed=checkpointed), make_trainee(checkpointed=checkpointed)
    compile_training(compiled.model)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    counts = set()
    for length in LENGTHS:
        (expected, gradients), (found, others) = step(plain, length), step(compiled, length)
        torch.testing.assert_close(found, expected)
        assert set(others) == set(gradients)
        torch.testing.assert_close(others, gradients, rtol=1e-3, atol=1e-4)
        counts.add((counting.forward, counting.backward))
    # Four stages of the trunk, and the union encoder's two layers as one.
    assert counts == {(5, 5)}


def test_evaluation_runs_as_it_is_written(make_trainee: MakeTrainee, counting: Counting) -> None:
    plain, compiled = make_trainee(), make_trainee()
    compile_training(compiled.model)
    for way in (lambda: compiled.eval(), lambda: compiled.train()):
        way()
        with torch.no_grad():
            assert torch.equal(compiled(batch_of(7))[0], plain(batch_of(7))[0])
    assert (counting.forward, counting.backward) == (0, 0)


@pytest.mark.slow
def test_checkpointed_layers_keep_less_when_they_are_compiled(make_trainee: MakeTrainee, counting: Counting) -> None:
    def kept(*, checkpointed: bool) -> int:
        trainee = make_trainee(checkpointed=checkpointed)
        compile_training(trainee.model)
        sizes: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            step(trainee, 6)
        return sum(sizes.values())

    assert kept(checkpointed=True) < 0.9 * kept(checkpointed=False)


@pytest.fixture
def make_compiled(make_recipe: MakeRecipe) -> Callable[..., Recipe]:
    def make(*, compiled: bool) -> Recipe:
        optimizer = {"learning_rate": 2e-3, "warm_up": 2, "compiled": compiled}
        return make_recipe(stages=STAGES, optimizer=optimizer, validate_every=1, save_every=1)

    return make


def test_a_run_learns_the_same(make_compiled: Callable[..., Recipe], counting: Counting, tmp_path: Path) -> None:
    plain = train(make_compiled(compiled=False), tmp_path / "plain")
    assert not counting.forward
    compiled = train(make_compiled(compiled=True), tmp_path / "compiled")
    assert counting.forward
    expected, found = (dict(losses_of(folder.parent)) for folder in (plain, compiled))
    assert found == pytest.approx(expected, rel=1e-3)
    assert json.loads((compiled / "config.json").read_text()) == json.loads((plain / "config.json").read_text())
    RS2Sam2Model.from_pretrained(compiled)


def test_a_run_goes_on_to_the_bit(make_compiled: Callable[..., Recipe], counting: Counting, tmp_path: Path) -> None:
    recipe = make_compiled(compiled=True)
    whole = train(recipe, tmp_path / "whole")

    def crash(step: int, values: dict[str, float]) -> None:
        if step == 3:
            raise RuntimeError("the power is gone")

    with pytest.raises(RuntimeError, match="power"):
        train(recipe, tmp_path / "stopped", report=crash)
    gone_on = train(recipe, tmp_path / "stopped", resume=True)
    assert losses_of(tmp_path / "stopped") == losses_of(tmp_path / "whole")
    assert fingerprint(gone_on) == fingerprint(whole)


def test_where_there_is_no_compiler_nothing_is_written(
    make_compiled: Callable[..., Recipe],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise RuntimeError("No working C++ compiler found\nand a long story")

    monkeypatch.setattr(torch, "compile", refuse)
    recipe = tmp_path / "recipe.json"
    recipe.write_text(make_compiled(compiled=True).model_dump_json())
    assert main(["train", str(recipe), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "optimizer.compiled" in said
    assert "No working C++ compiler found" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_grounder_is_not_compiled(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data.annotations=a", "data.images=i", "optimizer.compiled=true"]
    assert main(["train", "built-in-grounder", *(part for word in words for part in ("--set", word))]) == 2
    assert "compiled is for RS2-SAM 2" in capsys.readouterr().err


def environment() -> dict[str, str]:
    """In which a process of its own finds the package and these tests."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])}


@functools.cache
def has_compiler() -> bool:
    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        return False
    return True


# A compiler comes with no Python package; `.ci/run` installs g++, so that there nothing is skipped.
@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="PyTorch finds no C++ compiler")
def test_what_pytorch_itself_compiles_learns_the_same(tmp_path: Path) -> None:
    """In a process of its own: what is compiled stays in memory."""
    code = """
import torch
from torch import nn
from refersat.models.optimized.compiled import check_compiler, compile_training
from tests.models.tiny_rs2sam2 import make_model
check_compiler(torch.device("cpu"))
torch.set_num_threads(1)
blocks = [make_model(trunk_convolutions=[0, 0, 1, 1]).trunk.blocks[-1].train() for _ in range(2)]
plain, compiled = blocks
compile_training(nn.ModuleList([compiled]))
for length in (6, 9, 3):
    generator = torch.Generator().manual_seed(length)
    features = torch.randn(2, 4, 4, plain.dim, generator=generator)
    text = torch.randn(2, length, 32, generator=generator)
    padding = torch.zeros(2, length, dtype=torch.bool)
    padding[1, -1] = True
    for block in blocks:
        block.zero_grad()
        seen, heard = block(features, text.clone().requires_grad_(), padding)
        (seen.square().sum() + heard.square().sum()).backward()
    for one, other in zip(plain.parameters(), compiled.parameters()):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-4)
print(torch._dynamo.utils.counters["stats"]["unique_graphs"])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) == 2, "one that checks the compiler, and one for all lengths"


@pytest.mark.slow
def test_processes_share_the_gradients_of_compiled_layers(tmp_path: Path) -> None:
    """Two processes by DDP, each with a batch of its own: the mean of what each gets alone, compiled or not."""
    script = tmp_path / "both.py"
    script.write_text("""
import torch
from torch.nn.parallel import DistributedDataParallel
from refersat.models.optimized.compiled import compile_training
from tests.models.tiny_rs2sam2 import make_model
torch.set_num_threads(1)
torch.distributed.init_process_group("gloo")
rank = torch.distributed.get_rank()
def given(rank, length):
    generator = torch.Generator().manual_seed(rank)
    side = plain.options.image_size
    return torch.randn(2, 3, side, side, generator=generator), torch.full((2, length), 5), torch.ones(2, length) > 0
plain, compiled = (make_model().union_encoder.train() for _ in range(2))
compile_training(compiled, backend="aot_eager")
shared = DistributedDataParallel(compiled, find_unused_parameters=True)
for length in (6, 9):
    shared.zero_grad(), plain.zero_grad()
    shared(*given(rank, length)).cls.square().sum().backward()
    for each in range(2):
        (plain(*given(each, length)).cls.square().sum() / 2).backward()
    for one, other in zip(plain.parameters(), compiled.parameters()):
        if one.grad is not None:
            torch.testing.assert_close(other.grad, one.grad, rtol=1e-3, atol=1e-4)
assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
""")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr
