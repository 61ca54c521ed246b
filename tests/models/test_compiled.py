"""Compiled blocks: the same numbers, and one compilation whatever the length of the phrase."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from refersat.models.hiera import FusedBlock
from refersat.models.optimized import optimize
from refersat.models.optimized.compiled import CompiledBlock
from tests.models.tiny_rs2sam2 import make_model


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def block() -> FusedBlock:
    """The last block of the tiny trunk: its features are (B, 2, 2, 128)."""
    last = make_model().trunk.blocks[-2]
    assert isinstance(last, FusedBlock)
    return last


def arguments(block: FusedBlock, length: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(length)
    features = torch.randn(2, 8, 8, block.dim, generator=generator)
    text = torch.randn(2, length, 32, generator=generator)
    padding = torch.zeros(2, length, dtype=torch.bool)
    padding[1, -1] = True
    return features, text, padding


@torch.no_grad()
def test_a_new_length_of_the_phrase_compiles_nothing_anew(block: FusedBlock) -> None:
    counter = CompileCounter()
    compiled = CompiledBlock(block, backend=counter)
    for length in (6, 9, 3, 14, 2):
        given, expected = compiled(*arguments(block, length)), block(*arguments(block, length))
        torch.testing.assert_close(given, expected)
    assert counter.frame_count == 1


def test_blocks_are_compiled_where_asked_for_and_nowhere_else() -> None:
    plain = make_model()
    device = torch.device("meta")  # as a GPU: without packed forms
    asked = copy.deepcopy(plain)
    optimize(asked, device, torch.float32, compiled=True)
    optimize(asked, device, torch.float32, compiled=True)
    assert all(isinstance(each, CompiledBlock) for each in asked.trunk.blocks)
    assert all(isinstance(each.block, FusedBlock) for each in asked.trunk.blocks), "compiled twice"
    optimize(plain, device, torch.float32)
    assert all(isinstance(each, FusedBlock) for each in plain.trunk.blocks)
