"""The language-query grounder: the assembly. `GroundingModel.forward` reads like the paper's figure of stage 1.

Source: Li et al., "Semantic Localization Guiding Segment Anything Model" (PSLG-SAM, arXiv 2506.10503), whose first
stage is LQVG (Lan et al., TGRS 2024). No code was published; docs/explanation/grounding.md tells what is left open.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import initialization as init
from transformers.utils.generic import ModelOutput

from refersat.models.grounding.alignment import CrossModalAlignment
from refersat.models.grounding.boxes import to_corners
from refersat.models.grounding.configuration import GroundingConfig
from refersat.models.grounding.image_network import CompactNetwork, FrozenResNet, ImageLevels
from refersat.models.grounding.levels import Levels
from refersat.models.grounding.queries import LanguageQueries
from refersat.models.grounding.text_network import RecurrentText, RobertaText, TextProjection
from refersat.models.grounding.transformer import DeformableTransformer
from refersat.models.hiera import per_phrase
from refersat.models.with_tokenizer import WithTokenizer

__all__ = ["GroundingConfig", "GroundingModel", "GroundingOutput"]

LEVELS = 4
FIRST_SCORE = 0.01
"""Of a fresh model: most queries are wrong, and the focal loss need not first learn that."""
FIRST_SIZE_LOGIT = -2.0
"""Of a fresh model's boxes: an eighth of the image's sides."""


@dataclass
class GroundingOutput(ModelOutput):
    """What `GroundingModel` answers to B phrases with Q queries each; D decoder layers.

    Attributes:
        scores: (B,) in 0..1, of the best query.
        boxes: (B, 4) its box, x0, y0, x1, y1 in 0..1 of the image.
        query_logits: (D, B, Q) score logits after each decoder layer, the last one's last.
        query_boxes: (D, B, Q, 4) boxes, centre and size in shares of the image.
        sentence: (B, C) what the queries are made of.
        image_maps: what the image network made of the N images, (N, C, S/4, S/4) and so on to stride 32.
    """

    scores: Tensor | None = None
    boxes: Tensor | None = None
    query_logits: Tensor | None = None
    query_boxes: Tensor | None = None
    sentence: Tensor | None = None
    image_maps: tuple[Tensor, ...] | None = None


class GroundingModel(WithTokenizer):
    """Image and phrase in, box and score out."""

    config_class = GroundingConfig
    config: GroundingConfig
    base_model_prefix = "grounder"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__(config)
        self.image_network = FrozenResNet(config) if config.image_network == "resnet" else CompactNetwork(config)
        self.image_levels = ImageLevels(config)
        self.text_network = RobertaText(config) if config.text_network == "roberta" else RecurrentText(config)
        self.text_to_hidden = TextProjection(config)
        self.alignment = CrossModalAlignment(config, LEVELS)
        self.queries = LanguageQueries(config)
        self.transformer = DeformableTransformer(config, LEVELS)
        self.post_init()

    def forward(
        self, pixel_values: Tensor, valid: Tensor, input_ids: Tensor, attention_mask: Tensor
    ) -> GroundingOutput:
        """Find what each phrase names in its image.

        Args:
            pixel_values: (N, 3, S, S) letterboxed images, see `letterbox`; S is `config.image_size` unless a training
                schedule begins with smaller views. N divides B: each image belongs to B/N phrases in a row, and passes
                once through what does not depend on them.
            valid: (N, 2) shares of width and height that are image.
            input_ids: (B, L) token ids.
            attention_mask: (B, L) bool, True = real token. Padding is hidden from every attention, so a batch gives
                what its samples give one by one.
        """
        return self.ground(self.look(pixel_values), valid, input_ids, attention_mask)

    def save_pretrained(self, *args: Any, **options: Any) -> None:
        """As every model of Transformers, under the names that the weights have here.

        Unasked, Transformers would give layers of Deformable DETR the names of its first release.
        """
        super().save_pretrained(*args, **{"save_original_format": False, **options})

    def look(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """What does not depend on a phrase: (N, 3, S, S) -> maps of strides 4 to 32, (N, C, S/4, S/4) and so on."""
        return self.image_network(pixel_values)  # type: ignore[no-any-return]

    def ground(
        self, image_maps: tuple[Tensor, ...], valid: Tensor, input_ids: Tensor, attention_mask: Tensor
    ) -> GroundingOutput:
        """What phrases name in images that `look` has seen; arguments as in `forward`.

        Raises:
            ValueError: the phrases cannot be shared evenly by the images.
        """
        phrases, images = len(input_ids), len(valid)
        if not phrases or phrases % images:
            raise ValueError(f"{phrases} phrases cannot be shared evenly by {images} images")
        attention_mask = attention_mask.bool()
        text = self.text_to_hidden(self.text_network(input_ids, attention_mask))
        maps = [per_phrase(level, phrases) for level in self.image_levels(image_maps)]
        levels = Levels.of(maps, per_phrase(valid, phrases))

        aligned, enhanced = self.alignment(levels, text, ~attention_mask)
        queries, positions = self.queries(enhanced[:, 0])
        logits, boxes = self.transformer(aligned, queries, positions)

        best = logits[-1].argmax(dim=-1, keepdim=True)
        chosen = boxes[-1].gather(1, best[..., None].expand(-1, -1, 4))[:, 0]
        return GroundingOutput(
            scores=logits[-1].gather(1, best)[:, 0].float().sigmoid(),
            boxes=to_corners(chosen).clamp(0, 1),
            query_logits=logits,
            query_boxes=boxes,
            sentence=queries[:, 0],
            image_maps=image_maps,
        )

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fresh weights: Xavier for projections, He for convolutions, boxes of one size at first."""
        super()._init_weights(module)
        if isinstance(module, nn.Linear):
            init.xavier_uniform_(module.weight)
        elif isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                # Not zero: where the letterbox is filled up, a norm of nothing would blow gradients up.
                bound = module.weight[0].numel() ** -0.5
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.Embedding) and self.config.text_network == "lstm":
            init.normal_(module.weight)  # an LSTM has no norm before it: small words would all be alike to it
        elif isinstance(module, LanguageQueries):
            init.normal_(module.positions)
        elif isinstance(module, DeformableTransformer):
            # Its heads here and not in their own turn: transformers knows them as Linear layers like any other.
            init.normal_(module.level_positions)
            for head in module.score_heads:
                assert isinstance(head, nn.Linear)
                init.constant_(head.bias, -math.log(1 / FIRST_SCORE - 1))
            for number, head in enumerate(module.decoder.bbox_embed):
                init.zeros_(head.layers[-1].weight)
                init.zeros_(head.layers[-1].bias)
                if number == 0:
                    init.constant_(head.layers[-1].bias[2:], FIRST_SIZE_LOGIT)
