"""What reads the phrase: two networks to choose from, brought to the width of the rest."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import RobertaModel

from refersat.models.grounding.configuration import GroundingConfig


class RecurrentText(nn.Module):
    """A word table and an LSTM in both directions.

    The backward one reads each phrase from its own last token, so padding is never read before a word.
    """

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__()
        self.words = nn.Embedding(config.vocab_size, config.text_width)
        self.forwards, self.backwards = (
            nn.LSTM(config.text_width, config.text_width // 2, config.text_layers, batch_first=True) for _ in range(2)
        )

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids (B, L) and mask of real tokens (B, L), which come first -> (B, L, text_width)."""
        words = self.words(input_ids)
        lengths = attention_mask.sum(dim=1, keepdim=True)
        places = torch.arange(words.shape[1], device=words.device)
        # Turned round within its length, which done twice is as before.
        turned = torch.where(places < lengths, lengths - 1 - places, places)[..., None]
        ahead = self.forwards(words)[0]
        back = self.backwards(words.gather(1, turned.expand_as(words)))[0]
        return torch.cat([ahead, back.gather(1, turned.expand_as(back))], dim=-1)


class RobertaText(nn.Module):
    """RoBERTa."""

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__()
        self.encoder = RobertaModel(config.roberta_config(), add_pooling_layer=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids (B, L) and mask of real tokens (B, L) -> (B, L, text_width)."""
        hidden: Tensor = self.encoder(input_ids, attention_mask=attention_mask.long()).last_hidden_state
        return hidden


class TextProjection(nn.Sequential):
    """Linear, norm and dropout: (B, L, text_width) -> (B, L, hidden)."""

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__(
            nn.Linear(config.text_width, config.hidden_size),
            nn.LayerNorm(config.hidden_size),
            nn.Dropout(config.dropout),
        )
