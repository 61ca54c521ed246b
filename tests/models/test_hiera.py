"""The trunk: blocks against attention written out window by window, positions, and what runs through it."""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import Sam2HieraDetConfig

from refersat.models.fusion import ADAPTER_SCALE, BlockFusionKind
from refersat.models.hiera import ConvolutionalStem, FusedBlock, FusedHiera, StemKind

WIDTHS, DEPTHS, TEXT_WIDTH = [16, 32, 64, 128], [1, 2, 3, 1], 24
SETTINGS = settings(deadline=None, max_examples=15)


@pytest.fixture(autouse=True)
def fixed_and_without_gradients() -> Iterator[None]:
    torch.manual_seed(13)
    with torch.no_grad():
        yield


def trunk_config(windows: list[int] | None = None, global_blocks: list[int] | None = None) -> Sam2HieraDetConfig:
    config = Sam2HieraDetConfig(
        hidden_size=WIDTHS[0],
        image_size=[64, 64],
        query_stride=[2, 2],
        window_positional_embedding_background_size=[7, 7],
        blocks_per_stage=DEPTHS,
        embed_dim_per_stage=WIDTHS,
        num_attention_heads_per_stage=[1, 2, 4, 8],
        window_size_per_stage=windows or [8, 4, 14, 7],
        global_attention_blocks=[4] if global_blocks is None else global_blocks,
    )
    config._attn_implementation = "sdpa"
    return config


def make_trunk(
    fusion: BlockFusionKind = "bi", *, adapter: bool = True, stem: StemKind = "patch", windows: list[int] | None = None
) -> FusedHiera:
    trunk = FusedHiera(
        trunk_config(windows),
        text_width=TEXT_WIDTH,
        fusion=fusion,
        fusion_from=0,
        adapter=adapter,
        stem=stem,
        convolutions=[0, 0, 0, 0],
    ).eval()
    trunk.pos_embed.normal_()
    trunk.pos_embed_window.normal_()
    return trunk


def make_block(*, stage: int, block: int, window: int, adapter: bool = False) -> FusedBlock:
    windows = [window] * 4
    config = trunk_config(windows, global_blocks=[] if window else [0])
    made = FusedBlock(
        config,
        stage=stage,
        block=block,
        index=0,
        text_width=TEXT_WIDTH,
        fusion="none",
        adapter=adapter,
        convolutions=0,
    )
    # Away from the neutral values: a norm's shift makes the zeros around an image different from zero pixels.
    for norm in (made.layer_norm1, made.layer_norm2):
        norm.weight.add_(0.3 * torch.randn_like(norm.weight))
        norm.bias.normal_()
    return made


def pooled(grid: Tensor) -> Tensor:
    """Largest of every 2x2, (H, W, C) -> (H/2, W/2, C)."""
    corners = [grid[row::2, column::2] for row in (0, 1) for column in (0, 1)]
    return torch.stack(corners).amax(dim=0)


def attention_of_one_window(block: FusedBlock, window: Tensor) -> Tensor:
    """(h, w, C) -> (h, w, C'), half the sides where the block pools its queries."""
    heads = block.attn.num_attention_heads
    query, key, value = (window @ block.attn.qkv.weight.T + block.attn.qkv.bias).chunk(3, dim=-1)
    if block.query_stride:
        query = pooled(query)
    shape = query.shape
    parts = zip(*(part.flatten(0, 1).chunk(heads, dim=1) for part in (query, key, value)), strict=True)
    mixed = [(q @ k.T / sqrt(q.shape[1])).softmax(dim=1) @ v for q, k, v in parts]
    return (torch.cat(mixed, dim=1) @ block.attn.proj.weight.T + block.attn.proj.bias).view(shape)


def written_out(block: FusedBlock, features: Tensor) -> Tensor:
    """One sample (H, W, C), one window at a time; windows reach over the border into zeros."""
    normed = F.layer_norm(features, features.shape[-1:], block.layer_norm1.weight, block.layer_norm1.bias, 1e-6)
    shortcut = pooled(block.proj(normed)) if block.query_stride else features
    height, width = features.shape[:2]
    size = block.window_size or height
    stride = 2 if block.query_stride else 1
    attended = torch.zeros(-(-height // size) * size // stride, -(-width // size) * size // stride, block.dim_out)
    for top in range(0, height, size):
        for left in range(0, width, size):
            window = torch.zeros(size, size, features.shape[-1])
            inside = normed[top : top + size, left : left + size]
            window[: inside.shape[0], : inside.shape[1]] = inside
            done = attention_of_one_window(block, window)
            attended[top // stride : (top + size) // stride, left // stride : (left + size) // stride] = done
    features = shortcut + attended[: height // stride, : width // stride]
    normed = F.layer_norm(features, features.shape[-1:], block.layer_norm2.weight, block.layer_norm2.bias, 1e-6)
    output = features + block.mlp(normed)
    return output if block.adapter is None else output + 0.5 * block.adapter(normed)


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("block", [0, 1], ids=["first of a stage", "inside a stage"])
@pytest.mark.parametrize("window", [0, 4, 6], ids=["global", "windows that fit", "windows over the border"])
def test_a_block_is_hieras(window: int, block: int, adapter: bool) -> None:
    made = make_block(stage=1, block=block, window=window, adapter=adapter)
    features = torch.randn(2, 8, 8, made.dim)
    text = torch.randn(2, 3, TEXT_WIDTH)
    output, text_out = made(features, text, None)
    assert ADAPTER_SCALE == 0.5
    assert text_out is text
    for sample in range(2):
        torch.testing.assert_close(output[sample], written_out(made, features[sample]), rtol=1e-4, atol=1e-5)


def test_the_first_block_of_a_stage_has_the_window_before() -> None:
    trunk = make_trunk(windows=[8, 4, 14, 6])
    assert [block.window_size for block in trunk.blocks] == [8, 8, 4, 4, 0, 14, 14]
    assert [block.query_stride is not None for block in trunk.blocks] == [False, True, False, True, False, False, True]


def test_the_fusion_sees_the_attention_before_it_is_added() -> None:
    """Which a fusion that returns zeros shows: nothing of the attention is left, the shortcut is."""
    made = FusedBlock(
        trunk_config(), stage=0, block=0, index=0, text_width=TEXT_WIDTH, fusion="bi", adapter=False, convolutions=0
    )
    features, text = torch.randn(1, 8, 8, 16), torch.randn(1, 3, TEXT_WIDTH)
    assert made.fusion is not None
    seen = []
    made.fusion.register_forward_hook(lambda _, taken, given: (seen.append(taken[0]), (0 * given[0], given[1]))[1])
    output, text_out = made(features, text, None)
    torch.testing.assert_close(output, features + made.mlp(made.layer_norm2(features)))
    torch.testing.assert_close(seen[0][0], attention_of_one_window(made, made.layer_norm1(features)[0]))
    assert not torch.allclose(text_out, text, atol=1e-4)


@pytest.mark.parametrize("stem", ["patch", "convolutional"])
@given(side=st.integers(1, 6).map(lambda k: 32 * k))
@SETTINGS
def test_maps_at_strides_4_to_32_for_any_multiple_of_32(stem: StemKind, side: int) -> None:
    torch.manual_seed(1)
    trunk = make_trunk(stem=stem)
    maps, text = trunk(trunk.look(torch.randn(1, 3, side, side)), torch.randn(1, 3, TEXT_WIDTH), None)
    assert [tuple(m.shape) for m in maps] == [
        (1, side // stride, side // stride, width) for stride, width in zip((4, 8, 16, 32), WIDTHS, strict=True)
    ]
    assert all(m.isfinite().all() for m in (*maps, text))


@pytest.mark.parametrize("fusion", ["none", "linear", "uni", "bi"])
def test_which_way_the_fusion_runs(fusion: BlockFusionKind) -> None:
    trunk = make_trunk(fusion)
    images, texts = torch.randn(2, 1, 3, 64, 64), torch.randn(2, 1, 4, TEXT_WIDTH)
    maps, text_out = trunk(trunk.look(images[0]), texts[0], None)
    other_maps, _ = trunk(trunk.look(images[0]), texts[1], None)
    _, other_text_out = trunk(trunk.look(images[1]), texts[0], None)
    text_reaches_image = any(not torch.equal(a, b) for a, b in zip(maps, other_maps, strict=True))
    assert text_reaches_image is (fusion in ("uni", "bi"))
    assert torch.equal(text_out, texts[0]) is (fusion != "bi")
    assert torch.equal(text_out, other_text_out) is (fusion != "bi")


@pytest.mark.parametrize("fusion", ["uni", "bi"])
def test_every_block_meets_the_phrase(fusion: BlockFusionKind) -> None:
    trunk = make_trunk(fusion)
    seen = []
    for block in trunk.blocks:
        assert isinstance(block, FusedBlock)
        assert block.fusion is not None
        block.fusion.register_forward_hook(lambda _, taken, given: seen.append((taken[1], given[1])))
    text = torch.randn(1, 4, TEXT_WIDTH)
    _, text_out = trunk(trunk.look(torch.randn(1, 3, 64, 64)), text, None)
    assert len(seen) == sum(DEPTHS)
    # The text stream runs on from block to block.
    stream = [text] + [given for _, given in seen]
    assert all(taken is before for (taken, _), before in zip(seen, stream, strict=False))
    assert text_out is stream[-1]


def test_positions_are_a_resized_map_plus_tiles() -> None:
    trunk = make_trunk(windows=[4, 4, 4, 4])
    positions = trunk._positions(10, 6)
    assert positions.shape == (1, 10, 6, WIDTHS[0])
    coarse = F.interpolate(trunk.pos_embed, size=(10, 6), mode="bicubic", align_corners=False)
    for row in range(10):
        for column in range(6):
            expected = coarse[0, :, row, column] + trunk.pos_embed_window[0, :, row % 4, column % 4]
            torch.testing.assert_close(positions[0, row, column], expected)


def test_the_convolutional_stem_sees_all_pixels_at_stride_4() -> None:
    stem = ConvolutionalStem(16)
    pixels = torch.randn(1, 3, 32, 32)
    with torch.enable_grad():
        pixels.requires_grad_(True)
        output = stem(pixels)
        output.square().sum().backward()
    assert output.shape == (1, 8, 8, 16)
    assert pixels.grad is not None
    assert (pixels.grad.abs().sum(dim=1) > 0).all()


def test_the_convolutional_stem_keeps_rows_and_columns_apart() -> None:
    stem = ConvolutionalStem(16)
    dark = torch.zeros(1, 3, 128, 128)
    bright = dark.clone()
    bright[..., :4, 124:] = 5  # the upper right corner
    change = (stem(bright) - stem(dark)).abs().sum(dim=-1)[0]
    assert change[0, -1] > 0
    assert not change[16:].any()
    assert not change[:, :16].any()
