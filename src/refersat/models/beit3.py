"""The union encoder: BEiT-3, one multiway transformer over image patches and phrase tokens.

Visual and textual tokens attend to each other in every layer; projections, norms and feed-forward
networks are separate for the two ("multiway"). Source: Wang et al., "Image as a Foreign Language"
(CVPR 2023), as used by RS2-SAM 2 (arXiv 2503.07266, section 3.2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

UNKNOWN_TOKEN = 3
"""Id of unknown pieces. The released tokenizer pads with it, so the encoder never attends to it."""

POSITION_OFFSET = 2
"""Learned positions start at row 2 of both tables."""


@dataclass(frozen=True)
class UnionEncoderOptions:
    """Sizes of the union encoder (defaults: BEiT-3 large)."""

    image_size: int = 224
    patch_size: int = 16
    width: int = 1024
    layers: int = 24
    heads: int = 16
    feed_forward: int = 4096
    vocabulary: int = 64010
    text_positions: int = 1024

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size


class Multiway(nn.Module):
    """Two copies of one layer: `visual` for the first `split` tokens, `text` for the rest."""

    def __init__(self, make: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.visual = make()
        self.text = make()

    def forward(self, tokens: Tensor, split: int) -> Tensor:
        """(B, N, C) -> (B, N, C'), the first `split` tokens through `visual`."""
        return torch.cat([self.visual(tokens[:, :split]), self.text(tokens[:, split:])], dim=1)


class MultiwayAttention(nn.Module):
    """Joint self-attention with multiway projections and a norm before the output projection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = Multiway(lambda: nn.Linear(width, width))
        self.key = Multiway(lambda: nn.Linear(width, width))
        self.value = Multiway(lambda: nn.Linear(width, width))
        self.inner_norm = Multiway(lambda: nn.LayerNorm(width, eps=1e-5))
        self.output = Multiway(lambda: nn.Linear(width, width))

    def forward(self, tokens: Tensor, split: int, visible: Tensor) -> Tensor:
        """Tokens (B, N, C), visible (B, 1, 1, N) bool -> (B, N, C)."""
        batch, length, width = tokens.shape

        def heads(projection: Multiway) -> Tensor:
            projected: Tensor = projection(tokens, split)
            return projected.view(batch, length, self.heads, -1).transpose(1, 2)

        mixed = F.scaled_dot_product_attention(heads(self.query), heads(self.key), heads(self.value), attn_mask=visible)
        mixed = mixed.transpose(1, 2).reshape(batch, length, width)
        return self.output(self.inner_norm(mixed, split), split)  # type: ignore[no-any-return]


class SubNormFeedForward(nn.Module):
    """Linear, GELU, norm, Linear (the sub-layer norm of BEiT-3)."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.proj_in = nn.Linear(width, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-5)
        self.proj_out = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        return self.proj_out(self.norm(F.gelu(self.proj_in(tokens))))  # type: ignore[no-any-return]


class UnionEncoderLayer(nn.Module):
    """One pre-norm multiway transformer layer."""

    def __init__(self, options: UnionEncoderOptions) -> None:
        super().__init__()
        width = options.width
        self.attention_norm = Multiway(lambda: nn.LayerNorm(width, eps=1e-5))
        self.attention = MultiwayAttention(width, options.heads)
        self.feed_forward_norm = Multiway(lambda: nn.LayerNorm(width, eps=1e-5))
        self.feed_forward = Multiway(lambda: SubNormFeedForward(width, options.feed_forward))

    def forward(self, tokens: Tensor, split: int, visible: Tensor) -> Tensor:
        """(B, N, C) -> (B, N, C)."""
        tokens = tokens + self.attention(self.attention_norm(tokens, split), split, visible)
        return tokens + self.feed_forward(self.feed_forward_norm(tokens, split), split)  # type: ignore[no-any-return]


@dataclass
class UnionFeatures:
    """What the union encoder knows: `cls` (B, 1, C), `visual` (B, grid*grid, C) row by row, `text` (B, L, C)."""

    cls: Tensor
    visual: Tensor
    text: Tensor


class UnionEncoder(nn.Module):
    """BEiT-3 over one image and one phrase."""

    def __init__(self, options: UnionEncoderOptions) -> None:
        super().__init__()
        self.options = options
        width = options.width
        self.patch_embed = nn.Conv2d(3, width, kernel_size=options.patch_size, stride=options.patch_size)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.token_embed = nn.Embedding(options.vocabulary, width)
        visual_tokens = options.grid**2 + 1
        self.visual_positions = nn.Embedding(visual_tokens + POSITION_OFFSET, width)
        self.text_positions = nn.Embedding(options.text_positions, width)
        self.layers = nn.ModuleList(UnionEncoderLayer(options) for _ in range(options.layers))
        self.norm = Multiway(lambda: nn.LayerNorm(width, eps=1e-5))
        self.gradient_checkpointing = False

    def forward(self, pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> UnionFeatures:
        """Encode image and phrase together.

        Args:
            pixel_values: (B, 3, S, S), normalised.
            input_ids: (B, L) token ids.
            attention_mask: (B, L) bool, True = real token. Unknown tokens are hidden on top of it,
                as the released model (whose tokenizer pads with the unknown token) does.
        """
        patches = self.patch_embed(pixel_values).flatten(2).transpose(1, 2)
        visual = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1).to(patches.dtype), patches], dim=1)
        split = visual.shape[1]
        visual = visual + self.visual_positions.weight[POSITION_OFFSET : POSITION_OFFSET + split]

        visible_text = attention_mask & (input_ids != UNKNOWN_TOKEN)
        length = input_ids.shape[1]
        text = self.token_embed(input_ids) + self.text_positions.weight[POSITION_OFFSET : POSITION_OFFSET + length]
        text = text * visible_text[..., None]

        visible = torch.cat([visible_text.new_ones(patches.shape[0], split), visible_text], dim=1)[:, None, None]
        tokens = torch.cat([visual, text], dim=1)
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                tokens = torch.utils.checkpoint.checkpoint(layer, tokens, split, visible, use_reentrant=False)
            else:
                tokens = layer(tokens, split, visible)
        tokens = self.norm(tokens, split)
        return UnionFeatures(cls=tokens[:, :1], visual=tokens[:, 1:split], text=tokens[:, split:])
