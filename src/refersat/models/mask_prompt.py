"""The mask prompt generator (MPG): a coarse pseudo-mask of the target, given to SAM 2 as its dense prompt.

Source: RS2-SAM 2 (arXiv 2503.07266), section 3.4, equations 5 to 7.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

MaskPromptKind = Literal["none", "product", "attention"]
"""Ablation of table 3: no dense prompt, class token times patches, or with attention first (the full model)."""

MASK_PROMPT_HEADS = 8


class MaskPromptGenerator(nn.Module):
    """Pseudo-mask from the multimodal class token and the visual tokens of the union encoder."""

    def __init__(self, width: int, kind: MaskPromptKind) -> None:
        super().__init__()
        self.attention = (
            nn.MultiheadAttention(width, MASK_PROMPT_HEADS, batch_first=True) if kind == "attention" else None
        )
        self.token_linear = nn.Linear(width, width)
        self.score = nn.Linear(width, 1)

    def forward(self, cls: Tensor, visual: Tensor) -> Tensor:
        """Class token (B, 1, C) and patches (B, G*G, C) -> logits of the pseudo-mask (B, 1, G, G).

        The sigmoid of the result is the pseudo-mask; logits leave here so that a loss on them is stable.
        """
        token = cls
        if self.attention is not None:
            token = cls * self.attention(cls, visual, visual, need_weights=False)[0]
        scores = self.score(self.token_linear(token) * visual)
        side = int(visual.shape[1] ** 0.5)
        return scores.transpose(1, 2).reshape(cls.shape[0], 1, side, side)  # type: ignore[no-any-return]


def as_mask_prompt(pseudo_mask: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a pseudo-mask (B, 1, G, G) of probabilities to SAM 2's mask prompt (B, 1, *size).

    SAM 2 was trained on logits here; the released RS2-SAM 2 gives probabilities, and so do we.
    """
    return F.interpolate(pseudo_mask, size=size, mode="bilinear", align_corners=False, antialias=True)
