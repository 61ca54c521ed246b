"""Bidirectional hierarchical fusion (BHFM): text and image talk inside every Hiera block, and once after the encoder.

Source: RS2-SAM 2 (arXiv 2503.07266), section 3.3, equations 1 to 4. Where paper and released model
differ, this follows the released model (the text attends to the *updated* image features F'').
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

BlockFusionKind = Literal["none", "linear", "uni", "bi"]
"""Ablation of table 4: no layer, bottleneck only, text -> image only, both directions."""

TEXT_UPDATE = 0.2
"""a_t: share of the fused text that enters the text stream after each block."""

ADAPTER_SCALE = 0.5
"""a_i: weight of the adapter that runs beside the block's feed-forward network."""

BLOCK_FUSION_HEADS = 4
ENCODER_FUSION_HEADS = 8


class Adapter(nn.Module):
    """Bottleneck Linear(C -> C/4), GELU, Linear(C/4 -> C), without a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, width // 4)
        self.up = nn.Linear(width // 4, width)

    def forward(self, features: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        return self.up(F.gelu(self.down(features)))  # type: ignore[no-any-return]


class BlockFusion(nn.Module):
    """The fusion layer of one Hiera block, between its attention and its residual addition."""

    def __init__(self, width: int, text_width: int, kind: BlockFusionKind) -> None:
        super().__init__()
        inner = width // 4
        self.down = nn.Linear(width, inner)
        self.up = nn.Linear(inner, width)
        self.text_to_image = kind in ("uni", "bi")
        self.image_to_text = kind == "bi"
        if self.text_to_image:
            self.text_down = nn.Linear(text_width, inner)
            self.image_from_text = nn.MultiheadAttention(inner, BLOCK_FUSION_HEADS, batch_first=True)
        if self.image_to_text:
            self.text_from_image = nn.MultiheadAttention(inner, BLOCK_FUSION_HEADS, batch_first=True)
            self.text_up = nn.Linear(inner, text_width)

    def forward(
        self, features: Tensor, text: Tensor | None, text_padding: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Fuse one block's attention output with the phrase.

        Args:
            features: (B, H, W, C) after window un-partition.
            text: (B, L, T) text stream; None leaves the bottleneck alone.
            text_padding: (B, L) bool, True = padding, never attended to; None when nothing is padded.

        Returns:
            Updated features (B, H, W, C) and text (B, L, T), or None.
        """
        image = F.gelu(self.down(features))
        if self.text_to_image and text is not None:
            shape = image.shape
            image = image.flatten(1, 2)
            phrase = self.text_down(text)
            image = image + _attend(self.image_from_text, image, phrase, text_padding)
            if self.image_to_text:
                phrase = phrase + _attend(self.text_from_image, phrase, image, None)
                text = (1 - TEXT_UPDATE) * text + TEXT_UPDATE * self.text_up(phrase)
            image = image.view(shape)
        return features + self.up(image), text


class EncoderFusion(nn.Module):
    """After the encoder: F_en = F * MHA(q = F + position, k = v = T_0)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.image_from_text = nn.MultiheadAttention(width, ENCODER_FUSION_HEADS, batch_first=True)

    def forward(self, features: Tensor, position: Tensor, text: Tensor, text_padding: Tensor | None) -> Tensor:
        """Features and position (B, C, H, W), text (B, L, C) -> (B, C, H, W)."""
        query = (features + position).flatten(2).transpose(1, 2)
        attended = _attend(self.image_from_text, query, text, text_padding)
        return features * attended.transpose(1, 2).view(features.shape)


def _attend(attention: nn.MultiheadAttention, query: Tensor, source: Tensor, padding: Tensor | None) -> Tensor:
    mixed: Tensor = attention(query, source, source, key_padding_mask=padding, need_weights=False)[0]
    return mixed
