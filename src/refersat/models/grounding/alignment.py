"""Cross-modal alignment, level by level and before the encoder: the phrase looks at the image, the image hears it."""

from __future__ import annotations

from torch import Tensor, nn

from refersat.models.grounding.configuration import GroundingConfig, MergeKind
from refersat.models.grounding.levels import Levels


class CrossModalAlignment(nn.Module):
    """At each level text attends to the visual tokens, carried from level to level; they attend to the first text.

    Source: PSLG-SAM (arXiv 2506.10503), stage 1, after LQVG (Lan et al., TGRS 2024).
    """

    def __init__(self, config: GroundingConfig, levels: int) -> None:
        super().__init__()
        self.text_from_image = nn.ModuleList(Hearing(config) for _ in range(levels))
        self.image_from_text = nn.ModuleList(Hearing(config) for _ in range(levels))

    def forward(self, levels: Levels, text: Tensor, text_padding: Tensor) -> tuple[Levels, Tensor]:
        """Levels of B phrases' images and text (B, L, C) with its padding (B, L) -> both, enhanced."""
        enhanced, aligned = text, []
        for number, (tokens, positions, padding) in enumerate(levels.each()):
            enhanced = self.text_from_image[number](enhanced, tokens + positions, tokens, padding)
            aligned.append(self.image_from_text[number](tokens, text, text, text_padding))
        return levels.with_tokens(aligned), enhanced


class Hearing(nn.Module):
    """Attention from one kind of tokens to another, and what becomes of those that attend."""

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.attention = nn.MultiheadAttention(width, config.heads, dropout=config.dropout, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(width)
        self.merge: MergeKind = config.merge

    def forward(self, tokens: Tensor, keys: Tensor, values: Tensor, padding: Tensor) -> Tensor:
        """Tokens (B, T, C) attend to keys and values (B, K, C), but where padding (B, K) is True -> (B, T, C)."""
        heard = self.attention(tokens, keys, values, key_padding_mask=padding, need_weights=False)[0]
        merged = tokens * heard if self.merge == "multiply" else tokens + self.dropout(heard)
        result: Tensor = self.norm(merged)
        return result
