"""Equality with the released model: every recorded array, loss and gradient norm of benchmarks/parity.py."""

from __future__ import annotations

import json

import numpy as np
import parity
import pytest
import torch
from torch import Tensor

from refersat.models.official import plan_conversion
from refersat.models.rs2sam2 import RS2Sam2Model

NOT_COMPARED = {
    "input_ids", "attention_mask", "seed", "batch", "samples", "image_probe", "image_evf_probe", "target_coarse",
}  # fmt: skip
"""What a recording holds beside the arrays that the model computes: its inputs."""

USUAL = 1e-4
"""Allowed is `parity.TOLERANCE`; correct implementations agree to this."""

Arrays = dict[str, np.ndarray]


def above(errors: dict[str, float], limit: float) -> dict[str, float]:
    """Errors that are not below the limit; what is not a number is not below it."""
    return {name: error for name, error in errors.items() if not error < limit}


def computed(case: Arrays) -> set[str]:
    return set(case) - NOT_COMPARED


@pytest.fixture(scope="module")
def model() -> RS2Sam2Model:
    return parity.filled_model()


@pytest.fixture(scope="module", params=parity.CASES)
def errors(request: pytest.FixtureRequest, model: RS2Sam2Model) -> tuple[Arrays, dict[str, float]]:
    """A recording, and our error in each of its arrays."""
    case = parity.load_case(request.param)
    return case, parity.errors(case, parity.record(model, *parity.inputs(case)))


@pytest.mark.slow
def test_every_recorded_array_is_compared(errors: tuple[Arrays, dict[str, float]]) -> None:
    case, compared = errors
    assert len(computed(case)) == 35
    assert set(compared) == computed(case)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [parity.TOLERANCE, USUAL])
def test_arrays_and_losses_are_the_released_models(errors: tuple[Arrays, dict[str, float]], limit: float) -> None:
    assert above(errors[1], limit) == {}


@pytest.mark.slow
def test_gradient_norms_are_the_released_models(model: RS2Sam2Model) -> None:
    recorded = json.loads((parity.FIXTURES / "reference" / "small_public_0_gradnorms.json").read_text())
    compared = parity.gradient_errors(model)
    plan = plan_conversion(parity.released_small_keys())
    # Every recorded norm is compared or belongs to a tensor that single images never use.
    left_out = {name: norm for name, norm in recorded.items() if name not in plan.dropped and norm}
    for name in compared:
        for source in plan.sources[name]:
            left_out.pop(source, None)
    assert left_out == {}
    assert above(compared, parity.TOLERANCE) == {}


@pytest.mark.slow
@torch.no_grad()
def test_a_padded_batch_gives_the_single_recordings(model: RS2Sam2Model, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = [parity.load_case(name) for name in parity.CASES]
    samples = [parity.inputs(case)[0] for case in cases]
    lengths = [sample["input_ids"].shape[1] for sample in samples]
    assert lengths == [14, 9], "phrases of different length, or nothing would be padded"
    batch = {name: torch.cat([sample[name] for sample in samples]) for name in ("pixel_values", "union_pixel_values")}
    batch["input_ids"] = torch.full((2, max(lengths)), 3)
    batch["attention_mask"] = torch.zeros(2, max(lengths), dtype=torch.bool)
    for row, (sample, length) in enumerate(zip(samples, lengths, strict=True)):
        batch["input_ids"][row, :length] = sample["input_ids"][0]
        batch["attention_mask"][row, :length] = True

    # The released losses are defined at batch 1 only.
    monkeypatch.setattr(parity, "released_losses", lambda *_: {})
    together = parity.record(model, batch, torch.empty(0))
    together["vmtoken"] = together["vmtoken"].transpose(0, 1)
    for row, case in enumerate(cases):
        case["vmtoken"] = case["vmtoken"].transpose(1, 0, 2)
        errors = parity.errors(case, {name: like(array[row], case[name]) for name, array in together.items()})
        assert set(errors) == {name for name in computed(case) if not name.startswith("loss_")}
        assert above(errors, USUAL) == {}


def like(array: Tensor, recorded: np.ndarray) -> Tensor:
    """One sample of a batch, without the tokens that were padded."""
    return array[tuple(slice(size) for size in recorded.shape[1:])]


def test_the_comparison_sees_errors() -> None:
    recorded = {"array": np.array([1.0, 3.0]), "number": np.array(2.0)}
    exact = {name: torch.from_numpy(array) for name, array in recorded.items()}
    assert parity.errors(recorded, exact) == {"array": 0, "number": 0}
    off = parity.errors(recorded, {name: tensor + 0.01 for name, tensor in exact.items()})
    assert off == {"array": pytest.approx(0.01), "number": pytest.approx(0.005)}
    assert set(above(off | {"nan": float("nan")}, 0.007)) == {"array", "nan"}
