"""Fusion in the blocks and after the encoder against the equations of the paper (as the released model has them)."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.fusion import (
    BLOCK_FUSION_HEADS,
    ENCODER_FUSION_HEADS,
    TEXT_UPDATE,
    Adapter,
    BlockFusion,
    BlockFusionKind,
    EncoderFusion,
)

WIDTH, TEXT_WIDTH, HEIGHT, COLUMNS, LENGTH = 64, 24, 3, 5, 4


@pytest.fixture(autouse=True)
def fixed_and_without_gradients() -> Iterator[None]:
    torch.manual_seed(7)
    with torch.no_grad():
        yield


def attend(attention: nn.MultiheadAttention, query: Tensor, source: Tensor) -> Tensor:
    """Multi-head attention of one sample, head by head: (N, C) on (M, C) -> (N, C)."""
    projections = zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
    (q_weight, q_bias), (k_weight, k_bias), (v_weight, v_bias) = projections
    q = (query @ q_weight.T + q_bias).chunk(attention.num_heads, dim=1)
    k = (source @ k_weight.T + k_bias).chunk(attention.num_heads, dim=1)
    v = (source @ v_weight.T + v_bias).chunk(attention.num_heads, dim=1)
    heads = [
        (a @ b.T / sqrt(attention.embed_dim // attention.num_heads)).softmax(dim=1) @ c
        for a, b, c in zip(q, k, v, strict=True)
    ]
    return torch.cat(heads, dim=1) @ attention.out_proj.weight.T + attention.out_proj.bias


def with_biases(module: nn.Module) -> nn.Module:
    """PyTorch starts the biases of its attention at zero; here nothing may be zero."""
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module


def block(kind: BlockFusionKind) -> BlockFusion:
    fusion = with_biases(BlockFusion(WIDTH, TEXT_WIDTH, kind))
    assert isinstance(fusion, BlockFusion)
    return fusion


def features(batch: int = 1) -> Tensor:
    return torch.randn(batch, HEIGHT, COLUMNS, WIDTH)


@pytest.mark.parametrize("kind", ["linear", "uni", "bi"])
def test_block_fusion_is_the_papers(kind: BlockFusionKind) -> None:
    fusion = block(kind)
    image_in, text_in = features(), torch.randn(1, LENGTH, TEXT_WIDTH)
    image_out, text_out = fusion(image_in, text_in, None)

    image = F.gelu(fusion.down(image_in[0].reshape(-1, WIDTH)))
    text = text_in[0]
    if kind != "linear":
        assert fusion.image_from_text.num_heads == BLOCK_FUSION_HEADS == 4
        phrase = text @ fusion.text_down.weight.T + fusion.text_down.bias
        image = image + attend(fusion.image_from_text, image, phrase)
    if kind == "bi":
        # The released model lets the text attend to the image that has seen the text already.
        phrase = phrase + attend(fusion.text_from_image, phrase, image)
        text = 0.8 * text + 0.2 * (phrase @ fusion.text_up.weight.T + fusion.text_up.bias)
    expected = image_in[0] + (image @ fusion.up.weight.T + fusion.up.bias).view(HEIGHT, COLUMNS, WIDTH)
    torch.testing.assert_close(image_out[0], expected)
    torch.testing.assert_close(text_out[0], text)


@pytest.mark.parametrize("kind", ["linear", "uni", "bi"])
def test_without_a_phrase_the_bottleneck_is_left(kind: BlockFusionKind) -> None:
    fusion, image = block(kind), features()
    output, text = fusion(image, None, None)
    assert text is None
    torch.testing.assert_close(output, image + fusion.up(F.gelu(fusion.down(image))))


@pytest.mark.parametrize("kind", ["linear", "uni"])
def test_without_the_second_direction_the_text_runs_on_unchanged(kind: BlockFusionKind) -> None:
    text = torch.randn(1, LENGTH, TEXT_WIDTH)
    assert torch.equal(block(kind)(features(), text, None)[1], text)


def test_the_kinds_use_the_text_as_named() -> None:
    image, texts = features(), torch.randn(2, 1, LENGTH, TEXT_WIDTH)
    for kind, uses_text in (("linear", False), ("uni", True), ("bi", True)):
        fusion = block(kind)
        one, other = (fusion(image, text, None)[0] for text in texts)
        assert torch.allclose(one, other, atol=1e-4) is not uses_text
    one, other = (block("bi")(image, texts[0], None)[1] for image in (features(), features()))
    assert not torch.allclose(one, other, atol=1e-4)


def test_a_share_of_the_text_stream_is_renewed() -> None:
    fusion = block("bi")
    fusion.text_up.weight.zero_()
    fusion.text_up.bias.zero_()
    text = torch.randn(1, LENGTH, TEXT_WIDTH)
    assert TEXT_UPDATE == 0.2
    torch.testing.assert_close(fusion(features(), text, None)[1], 0.8 * text)


@pytest.mark.parametrize("kind", ["uni", "bi"])
def test_padding_is_never_attended_to_in_a_block(kind: BlockFusionKind) -> None:
    fusion = block(kind)
    image, text = features(2), torch.randn(2, LENGTH, TEXT_WIDTH)
    padding = torch.tensor([[False] * LENGTH, [False, False, True, True]])
    together, text_out = fusion(image, text, padding)
    text[1, 2:] = 1000
    assert torch.equal(fusion(image, text, padding)[0], together)
    for index, length in enumerate((LENGTH, 2)):
        row = slice(index, index + 1)
        image_alone, text_alone = fusion(image[row], text[row, :length], None)
        torch.testing.assert_close(together[row], image_alone)
        torch.testing.assert_close(text_out[row, :length], text_alone)


def test_encoder_fusion_multiplies_the_image_with_what_it_finds_in_the_text() -> None:
    width = 32
    fusion = with_biases(EncoderFusion(width))
    image, position = torch.randn(1, width, HEIGHT, COLUMNS), torch.randn(1, width, HEIGHT, COLUMNS)
    text = torch.randn(1, LENGTH, width)
    attention = fusion.image_from_text
    assert isinstance(attention, nn.MultiheadAttention)
    assert attention.num_heads == ENCODER_FUSION_HEADS == 8
    output = fusion(image, position, text, None)
    for row in range(HEIGHT):
        for column in range(COLUMNS):
            query = (image + position)[0, :, row, column]
            expected = image[0, :, row, column] * attend(attention, query[None], text[0])[0]
            torch.testing.assert_close(output[0, :, row, column], expected)


def test_padding_is_never_attended_to_after_the_encoder() -> None:
    fusion = with_biases(EncoderFusion(32))
    image, position = torch.randn(2, 32, HEIGHT, COLUMNS), torch.randn(2, 32, HEIGHT, COLUMNS)
    text = torch.randn(2, LENGTH, 32)
    padding = torch.tensor([[False] * LENGTH, [False, False, False, True]])
    together = fusion(image, position, text, padding)
    for index, length in enumerate((LENGTH, 3)):
        row = slice(index, index + 1)
        torch.testing.assert_close(together[row], fusion(image[row], position[row], text[row, :length], None))
    assert not torch.allclose(together[1:], fusion(image[1:], position[1:], text[1:], None), atol=1e-4)


def test_the_adapter_is_a_bottleneck_without_a_skip() -> None:
    adapter = Adapter(WIDTH)
    tokens = torch.randn(2, HEIGHT, COLUMNS, WIDTH)
    hidden = tokens @ adapter.down.weight.T + adapter.down.bias
    assert hidden.shape[-1] == WIDTH // 4
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / sqrt(2)))
    torch.testing.assert_close(adapter(tokens), hidden @ adapter.up.weight.T + adapter.up.bias)
