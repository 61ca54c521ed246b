"""The mask prompt generator against equations 5 to 7 of the paper."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from refersat.models.mask_prompt import MASK_PROMPT_HEADS, MaskPromptGenerator, MaskPromptKind, as_mask_prompt

WIDTH, GRID = 32, 4


@pytest.fixture(autouse=True)
def fixed_and_without_gradients() -> Iterator[None]:
    torch.manual_seed(11)
    with torch.no_grad():
        yield


def generator(kind: MaskPromptKind) -> MaskPromptGenerator:
    made = MaskPromptGenerator(WIDTH, kind)
    if made.attention is not None:
        made.attention.in_proj_bias.normal_()
        made.attention.out_proj.bias.normal_()
    return made


def attended(made: MaskPromptGenerator, cls: Tensor, visual: Tensor) -> Tensor:
    """The class token's attention over the patches, head by head, without norm or residual: (C,)."""
    attention = made.attention
    assert attention is not None
    assert attention.num_heads == MASK_PROMPT_HEADS == 8
    heads = []
    size = WIDTH // 8
    q_weight, k_weight, v_weight = attention.in_proj_weight.chunk(3)
    q_bias, k_bias, v_bias = attention.in_proj_bias.chunk(3)
    query, key, value = q_weight @ cls + q_bias, visual @ k_weight.T + k_bias, visual @ v_weight.T + v_bias
    for head in range(8):
        part = slice(head * size, (head + 1) * size)
        weights = (key[:, part] @ query[part] / sqrt(size)).softmax(dim=0)
        heads.append(weights @ value[:, part])
    return attention.out_proj.weight @ torch.cat(heads) + attention.out_proj.bias


@pytest.mark.parametrize("kind", ["product", "attention"])
def test_the_pseudo_mask_is_the_papers(kind: MaskPromptKind) -> None:
    made = generator(kind)
    cls, visual = torch.randn(2, 1, WIDTH), torch.randn(2, GRID * GRID, WIDTH)
    logits = made(cls, visual)
    assert logits.shape == (2, 1, GRID, GRID)
    for sample in range(2):
        token = cls[sample, 0]
        if kind == "attention":
            token = token * attended(made, token, visual[sample])
        token = made.token_linear.weight @ token + made.token_linear.bias
        for row in range(GRID):
            for column in range(GRID):
                patch = visual[sample, row * GRID + column]
                expected = made.score.weight[0] @ (token * patch) + made.score.bias[0]
                torch.testing.assert_close(logits[sample, 0, row, column], expected)


def test_the_product_has_no_attention_to_carry() -> None:
    names = {name.split(".")[0] for name in generator("product").state_dict()}
    assert names == {"token_linear", "score"}


@given(st.integers(0, 2**32), st.integers(1, 20), st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_the_prompt_stays_a_probability(seed: int, grid: int, height: int, width: int) -> None:
    mask = torch.rand((1, 1, grid, grid), generator=torch.Generator().manual_seed(seed))
    prompt = as_mask_prompt(mask, (height, width))
    assert prompt.shape == (1, 1, height, width)
    assert prompt.min() >= mask.min() - 1e-6
    assert prompt.max() <= mask.max() + 1e-6


def test_the_prompt_lies_where_the_pseudo_mask_lies() -> None:
    mask = torch.zeros(1, 1, GRID, GRID)
    mask[0, 0, 0, GRID - 1] = 1
    prompt = as_mask_prompt(mask, (32, 64))[0, 0]
    assert prompt[0, -1] == 1
    assert not prompt[16:].any()
    assert not prompt[:, :32].any()


def test_a_finer_pseudo_mask_is_averaged_not_sampled() -> None:
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., ::4] = 1
    prompt = as_mask_prompt(mask, (4, 4))[0, 0, :, 1:-1]
    torch.testing.assert_close(prompt, torch.full_like(prompt, 0.25), rtol=0, atol=0.06)
