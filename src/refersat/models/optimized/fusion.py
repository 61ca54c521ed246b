"""The fusion layer of a Hiera block, with its two attentions folded into few matrix products."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from refersat.models.fusion import TEXT_UPDATE, BlockFusion
from refersat.models.optimized.packed import PackedLinear


class FoldedFusion(nn.Module):
    """`BlockFusion`, for phrases that are short beside an image.

    Image tokens are many, so that nothing is projected for each of them: a head's score q_h . k_h is
    x (W_q,h^T k_h), and what it adds to the output is its weight times W_o,h v_h. Both right factors belong to a word.

    Args:
        fusion: the layer; its small projections are used as they are.
    """

    def __init__(self, fusion: BlockFusion) -> None:
        super().__init__()
        self.fusion = fusion
        self.down = PackedLinear.of(fusion.down, gelu=True)
        self.up = PackedLinear.of(fusion.up)

    def forward(
        self, attended: Tensor, shortcut: Tensor, text: Tensor | None, padding: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """As `BlockFusion.forward`, with the block's residual (B, H, W, C) added to the features."""
        image = self.down(attended)
        fusion = self.fusion
        if fusion.text_to_image and text is not None:
            shape = image.shape
            image = image.flatten(1, 2)
            phrase = fusion.text_down(text)
            image = _hear(fusion.image_from_text, image, phrase, padding)
            if fusion.image_to_text:
                phrase = phrase + _look(fusion.text_from_image, phrase, image)
                text = (1 - TEXT_UPDATE) * text + TEXT_UPDATE * fusion.text_up(phrase)
            image = image.view(shape)
        return self.up(image, residual=attended.add_(shortcut)), text


def _hear(attention: nn.MultiheadAttention, image: Tensor, phrase: Tensor, padding: Tensor | None) -> Tensor:
    """Image (B, N, I) plus what it hears of the phrase (B, L, I)."""
    weights, biases = _projections(attention)
    batch, length, width = phrase.shape
    heads, depth = attention.num_heads, width // attention.num_heads
    keys, values = (
        (phrase @ weights[part].T + biases[part]).view(batch, length, heads, depth).transpose(1, 2) for part in (1, 2)
    )
    folded_keys = keys @ weights[0].view(heads, depth, width) * depth**-0.5  # (B, heads, L, I)
    offsets = (keys @ biases[0].view(heads, depth, 1))[..., 0] * depth**-0.5  # (B, heads, L)
    if padding is not None:
        offsets = offsets.masked_fill(padding[:, None], float("-inf"))
    scores = torch.baddbmm(offsets.flatten(1)[..., None], folded_keys.flatten(1, 2), image.transpose(1, 2))
    # Over a dimension of a few words that is not the last one, a softmax works on many places at once.
    shares = scores.view(batch, heads, length, -1).softmax(2).flatten(1, 2).transpose(1, 2)
    folded_values = (values @ attention.out_proj.weight.T.view(heads, depth, width)).flatten(1, 2)
    return torch.baddbmm(image + attention.out_proj.bias, shares, folded_values)


def _look(attention: nn.MultiheadAttention, phrase: Tensor, image: Tensor) -> Tensor:
    """What the phrase (B, L, I) sees in the image (B, N, I)."""
    weights, biases = _projections(attention)
    batch, length, width = phrase.shape
    heads, depth = attention.num_heads, width // attention.num_heads
    queries = (phrase @ weights[0].T + biases[0]).view(batch, length, heads, depth).transpose(1, 2)
    folded = queries @ weights[1].view(heads, depth, width) * depth**-0.5
    scores = torch.bmm(folded.flatten(1, 2), image.transpose(1, 2))  # a key's bias is the same for all places
    torch.softmax(scores, -1, out=scores)
    seen = torch.bmm(scores, image).view(batch, heads, length, width)
    values = (seen @ weights[2].view(heads, depth, width).transpose(1, 2)).transpose(1, 2).flatten(2)
    return cast(Tensor, attention.out_proj(values + biases[2]))


def _projections(attention: nn.MultiheadAttention) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Weights and biases of queries, keys and values."""
    return cast(Tensor, attention.in_proj_weight).chunk(3), cast(Tensor, attention.in_proj_bias).chunk(3)
