"""Weights in 8 bits: what is kept of them, what an answer loses by it, and who may ask for it."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import refersat
from refersat.cli.main import main
from refersat.errors import UserError
from refersat.evaluation.provenance import ModelFacts
from refersat.models.loading import check_int8
from refersat.models.optimized import can_optimize, optimize
from refersat.models.optimized.int8 import Int8Linear
from refersat.models.optimized.packed import PackedLinear
from tests.models.tiny_rs2sam2 import CONFIGURATIONS, answer, make_model, numbers

CPU = torch.device("cpu")
SHIPS = Path(__file__).parents[2] / "examples" / "ships.jpg"

# As in test_optimized: without oneDNN's kernels there are no packed layers whose weights could be kept in 8 bits.
pytestmark = pytest.mark.skipif(
    not can_optimize(CPU, torch.float32), reason="PyTorch without oneDNN's kernels has no fast form of a model"
)

sizes = st.integers(1, 40)


@torch.inference_mode()
@given(rows=sizes, inputs=sizes, outputs=sizes, gelu=st.booleans(), seed=st.integers(0, 100))
def test_a_weight_is_off_by_half_a_step_at_most(rows: int, inputs: int, outputs: int, gelu: bool, seed: int) -> None:
    torch.manual_seed(seed)
    plain = nn.Linear(inputs, outputs)
    plain.weight *= 10.0 ** torch.randint(-4, 4, (outputs, 1))  # each channel has its own scale
    small = Int8Linear(PackedLinear.of(plain, gelu=gelu))
    step = plain.weight.abs().amax(1, keepdim=True) / 127
    assert ((small.laid_out() - plain.weight).abs() <= 0.501 * step).all()
    features = torch.randn(rows, inputs)
    expected = features @ small.laid_out().T + plain.bias
    scale = float(expected.abs().max())
    torch.testing.assert_close(
        small(features), nn.functional.gelu(expected) if gelu else expected, rtol=1e-4, atol=1e-5 * scale
    )
    if not gelu:
        residual = torch.randn(rows, outputs)
        torch.testing.assert_close(
            small(features, residual=residual), expected + residual, rtol=1e-4, atol=1e-5 * scale
        )


# Without products in bfloat16 a model is never in that format, so that nothing is lost by leaving it out.
@torch.inference_mode()
@pytest.mark.skipif(not can_optimize(CPU, torch.bfloat16), reason="this processor has no fast form in bfloat16")
def test_in_bfloat16_a_weight_is_off_by_a_step_at_most() -> None:
    torch.manual_seed(0)
    plain = nn.Linear(300, 200).bfloat16()
    small = Int8Linear(PackedLinear.of(plain))
    step = plain.weight.float().abs().amax(1, keepdim=True) / 127
    assert small.laid_out().dtype == torch.bfloat16
    assert ((small.laid_out() - plain.weight).float().abs() <= step).all()


@torch.inference_mode()
def test_channels_without_weights_and_layers_without_a_bias() -> None:
    weight = torch.randn(3, 5)
    weight[1] = 0
    small = Int8Linear(PackedLinear(weight, None))
    given = small(torch.randn(2, 5))
    assert given.isfinite().all()
    assert not given[:, 1].any()


@torch.inference_mode()
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_configuration_answers_nearly_the_same(name: str) -> None:
    plain = make_model(**CONFIGURATIONS[name])
    model = copy.deepcopy(plain)
    optimize(model, CPU, torch.float32, int8=True)
    assert any(isinstance(part, Int8Linear) for part in model.modules())
    assert not any(type(part) is PackedLinear for part in model.modules())
    expected, given = numbers(answer(plain)), numbers(answer(model))
    logits = expected["logits"]
    assert not torch.equal(given["logits"], logits)
    assert (given["logits"] - logits).abs().mean() < 0.1 * logits.std()


def test_the_built_in_model_draws_the_same_ships() -> None:
    image = PIL.Image.open(SHIPS).convert("RGB")
    whole, small = (
        refersat.load("built-in", device="cpu", dtype=kind)(image, "all ships") for kind in ("auto", "int8")
    )
    assert whole.mask.any()
    assert (whole.mask != small.mask).mean() < 0.002
    assert np.abs(whole.probability - small.probability).mean() < 0.005


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--model", "built-in-pslg"], "weights in int8 are for RS2-SAM 2 and EVF-SAM 2 models, not for built-in-pslg"),
        (["--dtype", "int4"], "unknown dtype 'int4': give auto, float32, bfloat16 or int8"),
    ],
)
@pytest.mark.parametrize("command", [["predict"], ["scene"], ["batch", "--overwrite"]])
def test_a_mistake_is_one_line_and_nothing_is_touched(
    command: list[str], words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "out" / "rows"
    rows.mkdir(parents=True)
    asked = [*command, str(SHIPS), "-t", "all ships", "--out", str(tmp_path / "out")]
    code = main([*asked, "--device", "cpu", "--dtype", "int8", *words])
    captured = capsys.readouterr()
    assert code == 2
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.rglob("*")) == [tmp_path / "out", rows]


def test_where_there_is_no_fast_form_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = "weights in int8 need a model's fast form"
    with pytest.raises(UserError, match=needed):
        refersat.load("built-in", device="cpu", dtype="int8", fast=False)
    monkeypatch.setattr("refersat.models.loading.can_optimize", lambda *_: False)
    with pytest.raises(UserError, match=needed):
        refersat.load("built-in", device="cpu", dtype="int8")
    assert main(["bench", "model", "--device", "cpu", "--dtype", "int8"]) == 2


def test_a_gpu_is_told_what_to_do() -> None:
    with pytest.raises(UserError, match="not for mps: give --device cpu or --dtype auto"):
        check_int8("built-in", torch.device("mps"), torch.bfloat16, fast=True)


def test_what_is_written_says_how_weights_were_kept() -> None:
    loaded = [refersat.load("built-in", device="cpu", dtype=kind) for kind in ("float32", "auto", "int8")]
    facts = [ModelFacts.of(each, "built-in", batch_size=None, threshold=None).dtype for each in loaded]
    assert facts == [each.number_format for each in loaded]
    assert facts[0] == "float32"
    assert facts[2] == f"int8 in {facts[1]}"
