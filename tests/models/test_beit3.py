"""The union encoder against BEiT-3 written out token by token."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.beit3 import (
    POSITION_OFFSET,
    UNKNOWN_TOKEN,
    Multiway,
    UnionEncoder,
    UnionEncoderLayer,
    UnionEncoderOptions,
    UnionFeatures,
)

GRID = 3
WIDTH = 16
HEADS = 2


def make_encoder(layers: int = 2) -> UnionEncoder:
    """Every weight different from its neutral value, so that nothing can be left out unseen."""
    torch.manual_seed(3)
    options = UnionEncoderOptions(
        image_size=4 * GRID,
        patch_size=4,
        width=WIDTH,
        layers=layers,
        heads=HEADS,
        feed_forward=24,
        vocabulary=12,
        text_positions=10,
    )
    encoder = UnionEncoder(options).eval()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return encoder


@pytest.fixture
def encoder() -> Iterator[UnionEncoder]:
    with torch.no_grad():
        yield make_encoder()


@pytest.fixture
def pixels() -> Tensor:
    return torch.randn(1, 3, 4 * GRID, 4 * GRID, generator=torch.Generator().manual_seed(1))


def ids(*tokens: int) -> Tensor:
    return torch.tensor([tokens])


def encode(encoder: UnionEncoder, pixels: Tensor, tokens: Tensor, mask: Tensor | None = None) -> UnionFeatures:
    result: UnionFeatures = encoder(pixels, tokens, torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask)
    return result


def layer_norm(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return (x - x.mean()) / (x.var(correction=0) + 1e-5).sqrt() * norm.weight + norm.bias


def written_out(encoder: UnionEncoder, pixels: Tensor, tokens: list[int], visible: list[bool]) -> list[Tensor]:
    """One sample, one token at a time: class token, patches, phrase, each (C,)."""
    visual, text = encoder.visual_positions.weight, encoder.text_positions.weight
    sequence = [encoder.cls_token[0, 0] + visual[POSITION_OFFSET]]
    for row in range(GRID):
        for column in range(GRID):
            patch = pixels[0, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            embedded = (encoder.patch_embed.weight * patch).sum(dim=(1, 2, 3)) + encoder.patch_embed.bias
            sequence.append(embedded + visual[POSITION_OFFSET + 1 + row * GRID + column])
    for place, (token, seen) in enumerate(zip(tokens, visible, strict=True)):
        embedded = encoder.token_embed.weight[token] + text[POSITION_OFFSET + place]
        sequence.append(embedded if seen else torch.zeros(WIDTH))
    split = 1 + GRID * GRID
    seen = [True] * split + visible

    def way(multiway: Multiway, place: int) -> nn.Module:
        return multiway.visual if place < split else multiway.text

    for layer in encoder.layers:
        assert isinstance(layer, UnionEncoderLayer)
        normed = [layer_norm(way(layer.attention_norm, i), x) for i, x in enumerate(sequence)]
        query, key, value = (
            [way(projection, i)(x).view(HEADS, -1) for i, x in enumerate(normed)]
            for projection in (layer.attention.query, layer.attention.key, layer.attention.value)
        )
        attended = []
        for i in range(len(sequence)):
            heads = []
            for head in range(HEADS):
                scaled = query[i][head] * (WIDTH // HEADS) ** -0.5
                others = [j for j in range(len(sequence)) if seen[j]]
                weights = torch.stack([scaled @ key[j][head] for j in others]).softmax(dim=0)
                heads.append(sum(w * value[j][head] for w, j in zip(weights, others, strict=True)))
            mixed = layer_norm(way(layer.attention.inner_norm, i), torch.cat(heads))
            attended.append(sequence[i] + way(layer.attention.output, i)(mixed))
        sequence = []
        for i, x in enumerate(attended):
            ffn = way(layer.feed_forward, i)
            hidden = F.gelu(ffn.proj_in(layer_norm(way(layer.feed_forward_norm, i), x)), approximate="none")
            sequence.append(x + ffn.proj_out(layer_norm(ffn.norm, hidden)))
    return [layer_norm(way(encoder.norm, i), x) for i, x in enumerate(sequence)]


@pytest.mark.parametrize(
    ("tokens", "mask"),
    [
        ([0, 5, 7, 2], [True, True, True, True]),
        ([0, 5, UNKNOWN_TOKEN, 7, 2], [True, True, True, True, True]),
        ([0, 5, 2, 8, 9], [True, True, True, False, False]),
        ([0, UNKNOWN_TOKEN, 2, UNKNOWN_TOKEN], [True, True, True, False]),
    ],
    ids=["plain", "unknown word", "padded", "unknown word and padded as released"],
)
def test_equals_beit3_written_out(encoder: UnionEncoder, pixels: Tensor, tokens: list[int], mask: list[bool]) -> None:
    output = encode(encoder, pixels, ids(*tokens), torch.tensor([mask]))
    assert output.cls.shape == (1, 1, WIDTH)
    assert output.visual.shape == (1, GRID * GRID, WIDTH)
    assert output.text.shape == (1, len(tokens), WIDTH)
    visible = [real and token != UNKNOWN_TOKEN for token, real in zip(tokens, mask, strict=True)]
    expected = torch.stack(written_out(encoder, pixels, tokens, visible))
    torch.testing.assert_close(torch.cat([output.cls, output.visual, output.text], dim=1)[0], expected)


def test_what_an_unknown_token_embeds_is_never_used(encoder: UnionEncoder, pixels: Tensor) -> None:
    tokens = ids(0, 5, UNKNOWN_TOKEN, 2)
    before = encode(encoder, pixels, tokens)
    encoder.token_embed.weight[UNKNOWN_TOKEN] += 100
    encoder.text_positions.weight[POSITION_OFFSET + 2] += 100
    after = encode(encoder, pixels, tokens)
    assert torch.equal(before.cls, after.cls)
    assert torch.equal(before.visual, after.visual)
    assert torch.equal(before.text, after.text)


def test_an_unknown_token_is_hidden_like_padding_but_keeps_its_place(encoder: UnionEncoder, pixels: Tensor) -> None:
    unknown = encode(encoder, pixels, ids(0, UNKNOWN_TOKEN, 5, 2))
    padding = encode(encoder, pixels, ids(0, 9, 5, 2), torch.tensor([[True, False, True, True]]))
    left_out = encode(encoder, pixels, ids(0, 5, 2))
    assert torch.equal(unknown.cls, padding.cls)
    assert torch.equal(unknown.text, padding.text)
    assert not torch.allclose(unknown.cls, left_out.cls, atol=1e-3)


def test_known_tokens_are_used(encoder: UnionEncoder, pixels: Tensor) -> None:
    before, after = encode(encoder, pixels, ids(0, 5, 2)), encode(encoder, pixels, ids(0, 6, 2))
    for part in ("cls", "visual", "text"):
        assert not torch.allclose(getattr(before, part), getattr(after, part), atol=1e-3)


@pytest.mark.parametrize("table", ["visual_positions", "text_positions"])
def test_the_first_rows_of_the_position_tables_are_unused(encoder: UnionEncoder, pixels: Tensor, table: str) -> None:
    tokens = ids(0, 5, 2)
    before = encode(encoder, pixels, tokens)
    getattr(encoder, table).weight[:POSITION_OFFSET] += 100
    assert torch.equal(before.cls, encode(encoder, pixels, tokens).cls)
    getattr(encoder, table).weight[POSITION_OFFSET] *= -1
    assert not torch.allclose(before.cls, encode(encoder, pixels, tokens).cls, atol=1e-3)


def test_all_positions_of_the_text_table_can_be_used(encoder: UnionEncoder, pixels: Tensor) -> None:
    longest = encoder.options.text_positions - POSITION_OFFSET
    assert encode(encoder, pixels, torch.full((1, longest), 5)).text.shape == (1, longest, WIDTH)


@torch.no_grad()
def test_padding_of_a_batch_is_invisible(encoder: UnionEncoder) -> None:
    pixels = torch.randn(2, 3, 4 * GRID, 4 * GRID, generator=torch.Generator().manual_seed(2))
    tokens = torch.tensor([[0, 5, 6, 7, 2], [0, 8, 2, 4, 4]])
    mask = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    together = encode(encoder, pixels, tokens, mask)
    for index, length in enumerate((5, 3)):
        row = slice(index, index + 1)
        alone = encode(encoder, pixels[row], tokens[row, :length])
        torch.testing.assert_close(together.cls[row], alone.cls)
        torch.testing.assert_close(together.visual[row], alone.visual)
        torch.testing.assert_close(together.text[row, :length], alone.text)


def test_checkpointing_saves_memory_and_changes_no_gradient(pixels: Tensor) -> None:
    encoder = make_encoder().train()
    gradients = []
    for checkpointing in (False, True):
        encoder.zero_grad()
        encoder.gradient_checkpointing = checkpointing
        saved = 0

        def count(tensor: Tensor) -> Tensor:
            nonlocal saved
            saved += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss = encode(encoder, pixels, ids(0, 5, 2)).cls.square().sum()
        loss.backward()
        gradients.append((saved, [parameter.grad for parameter in encoder.parameters()]))
    (plain_memory, plain), (checkpointed_memory, checkpointed) = gradients
    assert checkpointed_memory < plain_memory / 2
    for expected, gradient in zip(plain, checkpointed, strict=True):
        torch.testing.assert_close(gradient, expected)
