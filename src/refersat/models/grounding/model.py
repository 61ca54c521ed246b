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

from refersat.models.eye import Eye, Sight, eye_config, without_eye
from refersat.models.grounding.alignment import CrossModalAlignment
from refersat.models.grounding.boxes import to_corners
from refersat.models.grounding.configuration import GroundingConfig
from refersat.models.grounding.image_network import CompactNetwork, EyeLevels, FrozenResNet, ImageLevels
from refersat.models.grounding.levels import Levels
from refersat.models.grounding.queries import LanguageQueries, ObjectQueries
from refersat.models.grounding.text_network import RecurrentText, RobertaText, TextProjection
from refersat.models.grounding.transformer import DeformableTransformer
from refersat.models.hiera import per_phrase
from refersat.models.selection import InstanceSelector
from refersat.models.sightings import Objects
from refersat.models.with_tokenizer import WithTokenizer

__all__ = ["GroundingConfig", "GroundingModel", "GroundingOutput"]

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
        parts: (B, Q) bool, the queries whose boxes make up `boxes`: the best alone, unless the answer is a hull.
        image_maps: what the image network made of the N images, (N, C, S/4, S/4) and so on to stride 32; or the maps of
            a `Sight`.
    """

    scores: Tensor | None = None
    boxes: Tensor | None = None
    query_logits: Tensor | None = None
    query_boxes: Tensor | None = None
    sentence: Tensor | None = None
    parts: Tensor | None = None
    image_maps: tuple[Tensor, ...] | None = None


class GroundingModel(WithTokenizer):
    """Image and phrase in, box and score out."""

    config_class = GroundingConfig
    config: GroundingConfig
    base_model_prefix = "grounder"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _keys_to_ignore_on_load_missing = [r"^eye\."]  # noqa: RUF012  Transformers' own way to say it

    def __init__(self, config: GroundingConfig) -> None:
        super().__init__(config)
        self.image_levels: ImageLevels | EyeLevels
        if config.image_network == "eye":
            seen = eye_config(config.eye)
            self.eye = Eye(seen)
            self.image_levels = EyeLevels(config, self.eye.widths)
        else:
            self.image_network = FrozenResNet(config) if config.image_network == "resnet" else CompactNetwork(config)
            self.image_levels = ImageLevels(config)
        self.selector, self.object_queries = None, None
        if config.first_boxes == "objects":
            self.selector = InstanceSelector(
                seen.candidate_width, vocabulary=config.vocab_size, longest=config.max_text_length
            )
            self.object_queries = ObjectQueries(config)
        self.text_network = RobertaText(config) if config.text_network == "roberta" else RecurrentText(config)
        self.text_to_hidden = TextProjection(config)
        self.alignment = CrossModalAlignment(config, config.levels)
        self.queries = LanguageQueries(config)
        self.transformer = DeformableTransformer(config, config.levels)
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
        # Another folder has the weights of an eye.
        state = without_eye(options.pop("state_dict", None) or self.state_dict())
        super().save_pretrained(*args, **{"save_original_format": False, **options, "state_dict": state})

    def look(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """What does not depend on a phrase: (N, 3, S, S) -> maps of strides 4 to 32, (N, C, S/4, S/4) and so on.

        Of an eye they are the maps of a `Sight`.
        """
        if self.config.image_network == "eye":
            return self.eye(pixel_values).maps  # type: ignore[no-any-return]
        return self.image_network(pixel_values)  # type: ignore[no-any-return]

    def ground(
        self,
        image_maps: tuple[Tensor, ...],
        valid: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        objects: Objects | None = None,
    ) -> GroundingOutput:
        """What phrases name in images that `look` has seen; arguments as in `forward`.

        `objects` are those of the images, if they are known already and queries begin with them.

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
        if self.object_queries is None or self.selector is None:
            logits, boxes = self.transformer(aligned, queries, positions)
        else:
            if objects is None:
                objects = self.selector.find([Sight(*image_maps).survey]).objects
            begun = self.object_queries(queries, positions, objects, self.selector, input_ids, attention_mask)
            logits, boxes = self.transformer(aligned, begun.queries, begun.positions, begun.boxes, begun.judged)

        last, corners = logits[-1].float(), to_corners(boxes[-1]).clamp(0, 1)
        best = last.argmax(dim=-1, keepdim=True)
        parts = torch.zeros_like(last, dtype=torch.bool).scatter(1, best, True)
        if self.config.answer == "hull":
            parts = parts | (last >= 0)
        low = corners[..., :2].masked_fill(~parts[..., None], 1.0).amin(1)
        high = corners[..., 2:].masked_fill(~parts[..., None], 0.0).amax(1)
        return GroundingOutput(
            scores=last.gather(1, best)[:, 0].sigmoid(),
            boxes=torch.cat([low, high], dim=-1),
            query_logits=logits,
            query_boxes=boxes,
            sentence=queries[:, 0],
            parts=parts,
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
        elif isinstance(module, ObjectQueries):
            init.normal_(module.places)
        elif isinstance(module, DeformableTransformer):
            # Its heads here and not in their own turn: transformers knows them as Linear layers like any other.
            init.normal_(module.level_positions)
            judged = self.config.first_boxes == "objects"
            for head in module.score_heads:
                assert isinstance(head, nn.Linear)
                init.constant_(head.bias, 0.0 if judged else -math.log(1 / FIRST_SCORE - 1))
                if judged:  # at first the selector's word is all that counts
                    init.zeros_(head.weight)
            for number, head in enumerate(module.decoder.bbox_embed):
                init.zeros_(head.layers[-1].weight)
                init.zeros_(head.layers[-1].bias)
                if number == 0 and not judged:
                    init.constant_(head.layers[-1].bias[2:], FIRST_SIZE_LOGIT)
