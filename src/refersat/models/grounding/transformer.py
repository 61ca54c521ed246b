"""The deformable transformer: encoder, decoder and iterative refinement of boxes, with the layers of transformers.

Source: Zhu et al., "Deformable DETR" (ICLR 2021). Deformable attention runs in its PyTorch form everywhere.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers.models.deformable_detr.modeling_deformable_detr import (
    DeformableDetrDecoder,
    DeformableDetrEncoder,
    DeformableDetrMLPPredictionHead,
)

from refersat.models.grounding.configuration import GroundingConfig
from refersat.models.grounding.levels import Levels

EPSILON = 1e-5
"""Keeps the logits of coordinates finite."""


class DeformableTransformer(nn.Module):
    """From aligned levels and queries to boxes and score logits, one set after each decoder layer."""

    def __init__(self, config: GroundingConfig, levels: int) -> None:
        super().__init__()
        hidden, layers = config.hidden_size, config.decoder_layers
        parts = config.transformer_config()
        self.level_positions = nn.Parameter(torch.zeros(levels, hidden))
        self.encoder = DeformableDetrEncoder(parts)
        self.decoder = cast(Any, DeformableDetrDecoder(parts))  # annotated as if it had no box heads
        # The decoder moves its boxes with them on the way from layer to layer.
        self.decoder.bbox_embed = nn.ModuleList(
            DeformableDetrMLPPredictionHead(hidden, hidden, 4, num_layers=3) for _ in range(layers)
        )
        # Queries that begin with boxes need no places.
        self.first_places = nn.Linear(hidden, 2) if config.first_boxes == "learned" else None
        self.score_heads = nn.ModuleList(nn.Linear(hidden, 1) for _ in range(layers))

    def forward(
        self,
        levels: Levels,
        queries: Tensor,
        positions: Tensor,
        first: Tensor | None = None,
        judged: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Look for what the queries say, layer by layer.

        Args:
            levels: of B views.
            queries: (B, Q, C).
            positions: (B, Q, C), where each looks first.
            first: (B, Q, 4) the boxes that queries begin with, centre and size; None: at places that follow from
                `positions`.
            judged: (B, Q) logits that the scores' logits are added to; None for none.

        Returns:
            After each of D decoder layers score logits (D, B, Q) and boxes (D, B, Q, 4), centre and size in shares of
            the image.
        """
        sizes = torch.tensor(levels.sizes, device=queries.device)
        starts = torch.cat([sizes.new_zeros(1), sizes.prod(1).cumsum(0)[:-1]])
        # Exactly what the letterbox fills, where Deformable DETR rounds to each level's cells.
        ratios = levels.valid[:, None].expand(-1, len(levels.sizes), -1)
        places = {
            "spatial_shapes": sizes,
            "spatial_shapes_list": list(levels.sizes),
            "level_start_index": starts,
            "valid_ratios": ratios,
        }
        lengths = torch.tensor([height * width for height, width in levels.sizes], device=queries.device)
        of_level = self.level_positions.repeat_interleave(lengths, dim=0, output_size=levels.tokens.shape[1])
        memory = self.encoder(
            inputs_embeds=levels.tokens,
            attention_mask=levels.inside,
            spatial_position_embeddings=levels.positions + of_level,
            **places,
        ).last_hidden_state
        if first is None:
            assert self.first_places is not None
            first = self.first_places(positions).sigmoid()
        decoded = self.decoder(
            inputs_embeds=queries,
            object_queries_position_embeddings=positions,
            encoder_hidden_states=memory,
            encoder_attention_mask=levels.inside,
            reference_points=first,
            **places,
        )
        states = decoded.intermediate_hidden_states.transpose(0, 1)  # (D, B, Q, C)
        refined = decoded.intermediate_reference_points.transpose(0, 1)  # (D, B, Q, 4), without gradient
        logits, boxes = [], []
        for layer, state in enumerate(states):
            scores = self.score_heads[layer](state).squeeze(-1)
            logits.append(scores if judged is None else scores + judged)
            boxes.append(_moved(first if layer == 0 else refined[layer - 1], self.decoder.bbox_embed[layer](state)))
        return torch.stack(logits), torch.stack(boxes)


def _moved(reference: Tensor, delta: Tensor) -> Tensor:
    """A place (..., 2) or box (..., 4), moved by delta (..., 4) in the logits of its coordinates: a box (..., 4)."""
    logits = torch.logit(reference.float(), eps=EPSILON)
    known = logits.shape[-1]
    return torch.cat([delta[..., :known].float() + logits, delta[..., known:].float()], dim=-1).sigmoid()
