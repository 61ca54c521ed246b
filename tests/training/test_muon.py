"""Muon: orthogonal updates for matrices, Adam's for the rest."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from refersat.training.muon import Muon, orthogonalise


@given(rows=st.integers(2, 40), columns=st.integers(2, 40), seed=st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_an_orthogonalised_matrix_keeps_its_directions(rows: int, columns: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    left = torch.linalg.qr(torch.randn(rows, rows, generator=generator))[0][:, : min(rows, columns)]
    right = torch.linalg.qr(torch.randn(columns, columns, generator=generator))[0][: min(rows, columns)]
    strengths = torch.linspace(0.1, 2.0, min(rows, columns))
    result = orthogonalise(left @ strengths.diag() @ right)
    assert result.shape == (rows, columns)
    within = left.T @ result @ right.T
    assert (within - within.diag().diag()).abs().max() < 1e-3
    assert within.diag().min() > 0.6
    assert within.diag().max() < 1.25


@pytest.mark.parametrize("shape", [(6, 9), (4, 3, 3, 3)])
def test_the_step_of_a_matrix_does_not_depend_on_the_size_of_its_gradient(shape: tuple[int, ...]) -> None:
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    moved = []
    for scale in (1e-3, 1e3):
        parameter = nn.Parameter(torch.zeros(shape))
        optimizer = Muon([{"params": [parameter], "matrices": True}], learning_rate=0.1)
        parameter.grad = scale * gradient
        optimizer.step()
        moved.append(parameter.detach().clone())
    torch.testing.assert_close(moved[0], moved[1], rtol=1e-3, atol=1e-5)
    # As large as a typical step of AdamW: 0.2 learning rates a number, here with singular values from 0.7 to 1.2.
    assert 0.012 < moved[0].square().mean().sqrt() < 0.026


def test_other_parameters_move_as_under_adamw() -> None:
    start = torch.randn(7, generator=torch.Generator().manual_seed(1))
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    muon = Muon([{"params": [ours], "weight_decay": 0.1}], learning_rate=0.01, betas=(0.9, 0.99))
    adamw = torch.optim.AdamW([theirs], lr=0.01, betas=(0.9, 0.99), weight_decay=0.1)
    for step in range(5):
        gradient = torch.randn(7, generator=torch.Generator().manual_seed(step))
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs)


def test_a_saved_state_goes_on_where_it_was() -> None:
    def run(parameters: list[nn.Parameter], optimizer: Muon, steps: range) -> None:
        for step in steps:
            for parameter in parameters:
                generator = torch.Generator().manual_seed(step)
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            optimizer.step()

    def fresh() -> tuple[list[nn.Parameter], Muon]:
        parameters = [nn.Parameter(torch.ones(3, 5)), nn.Parameter(torch.ones(4))]
        groups = [{"params": parameters[:1], "matrices": True}, {"params": parameters[1:]}]
        return parameters, Muon(groups, learning_rate=0.1)

    whole, optimizer = fresh()
    run(whole, optimizer, range(6))
    first, optimizer = fresh()
    run(first, optimizer, range(3))
    second, resumed = fresh()
    resumed.load_state_dict(optimizer.state_dict())
    for mine, theirs in zip(second, first, strict=True):
        mine.data.copy_(theirs.data)
    run(second, resumed, range(3, 6))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(second, whole, strict=True))


def test_what_has_no_gradient_stays() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    Muon([{"params": [parameter], "matrices": True, "weight_decay": 0.5}]).step()
    assert torch.equal(parameter, torch.ones(2, 2))
