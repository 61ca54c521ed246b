"""RS2-SAM 2: the assembly. `RS2Sam2Model.forward` reads like figure 2 of the paper.

Source: Rong, Lan, Zhang, Zhang, "RS2-SAM2: Customized SAM2 for Referring Remote Sensing Image Segmentation"
(AAAI 2026, arXiv 2503.07266). With every switch of its ablations (tables 3 and 4), and equal to the released
model: where paper and released weights differ, this follows the weights.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.models.sam2.modeling_sam2 import (
    Sam2FeedForward,
    Sam2MaskDecoder,
    Sam2PositionalEmbedding,
    Sam2PromptEncoder,
    Sam2VisionNeck,
)
from transformers.utils.generic import ModelOutput

from refersat.models.beit3 import UnionEncoder
from refersat.models.candidates import FIRST_GAIN, CandidateFinder, Candidates
from refersat.models.configuration import RS2Sam2Config
from refersat.models.eye import trunk_of
from refersat.models.fusion import Adapter, BlockFusion, EncoderFusion
from refersat.models.hiera import FusedHiera, per_phrase
from refersat.models.mask_prompt import MaskPromptGenerator, as_mask_prompt
from refersat.models.selection import FIRST_BIAS, InstanceSelector, Selection, both

__all__ = ["RS2Sam2Config", "RS2Sam2Model", "RS2Sam2Output"]

ADAPTER_INIT_STD = 1e-3
"""Fresh adapters start close to the function of the trunk that they adapt."""


@dataclass
class RS2Sam2Output(ModelOutput):
    """What `RS2Sam2Model` answers for B pairs of image and phrase; S is the side of `pixel_values`.

    Attributes:
        logits: (B, 1, S, S) decoder logits, up-sampled; foreground where > `config.mask_threshold`.
        low_res_logits: (B, 1, S/4, S/4).
        decoded_logits: (B, 1, S, S) what the mask decoder draws by itself; `logits` where there is no selector.
        pseudo_mask: (B, 1, G, G) probabilities of the mask prompt generator, or None without one.
        pseudo_mask_logits: the same before the sigmoid.
        text_weight: (B,) the boundary loss's scalar, or None without one.
        presence_logits: (B,) SAM 2's object score logit; with a selector its mean with that of the likeliest object.
        iou_scores: (B,) SAM 2's own estimate of the mask's IoU, 0..1.
        prompt_token: (B, hidden) the sparse prompt, what the union encoder made of image and phrase.
        features: neck outputs at strides 4, 8 and 16, (B, hidden, S/4, S/4) and so on; one per image, not per phrase,
            where the trunk had not heard the phrase.
        image_embedding: (B, hidden, S/16, S/16) what the mask decoder sees of the image, after all fusion.
        image_maps: what the trunk made of the N images before it heard a phrase: (N, H, W, C) for each stage that ended
            there, then the state at that point.
        candidates: what looks like the named kind, or None without a candidate finder.
        object_score_logits: (B,) SAM 2's object score logit.
        selection: which single objects are meant, or None without a selector.
    """

    logits: Tensor | None = None
    low_res_logits: Tensor | None = None
    decoded_logits: Tensor | None = None
    pseudo_mask: Tensor | None = None
    pseudo_mask_logits: Tensor | None = None
    text_weight: Tensor | None = None
    presence_logits: Tensor | None = None
    iou_scores: Tensor | None = None
    prompt_token: Tensor | None = None
    features: tuple[Tensor, ...] | None = None
    image_embedding: Tensor | None = None
    image_maps: tuple[Tensor, ...] | None = None
    candidates: Candidates | None = None
    object_score_logits: Tensor | None = None
    selection: Selection | None = None


class RS2Sam2Model(PreTrainedModel):
    """Image and phrase in, mask logits out."""

    config_class = RS2Sam2Config
    config: RS2Sam2Config
    base_model_prefix = "rs2sam2"
    main_input_name = "pixel_values"
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    def __init__(self, config: RS2Sam2Config) -> None:
        super().__init__(config)
        hidden, union = config.hidden_size, config.union_width
        self.union_encoder = UnionEncoder(config.union_encoder_options)
        self.token_mlp = Sam2FeedForward(union, union, hidden, num_layers=2)
        uses_text = config.block_fusion in ("uni", "bi") or config.encoder_fusion or config.boundary_scalar
        self.text_projection = nn.Linear(union, hidden) if uses_text else None
        self.mask_prompt = MaskPromptGenerator(union, config.mask_prompt) if config.mask_prompt != "none" else None
        self.trunk = trunk_of(config)
        self.candidates = (
            CandidateFinder(self.trunk.image_map_widths, config.candidate_width, hidden=hidden)
            if config.candidate_width
            else None
        )
        self.neck = Sam2VisionNeck(config.neck_config())
        self.no_memory_embedding = nn.Parameter(torch.zeros(1, 1, hidden))
        self.encoder_fusion = EncoderFusion(hidden) if config.encoder_fusion else None
        self.prompt_encoder = Sam2PromptEncoder(config.prompt_encoder_config())
        self.mask_decoder = Sam2MaskDecoder(config.mask_decoder_config())
        self.boundary_scalar = nn.Linear(hidden, 1) if config.boundary_scalar else None
        self.selector = (
            InstanceSelector(config.candidate_width, vocabulary=config.vocab_size, longest=config.max_text_length)
            if config.selection
            else None
        )
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        union_pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
    ) -> RS2Sam2Output:
        """Segment what each phrase names in its image.

        Args:
            pixel_values: (N, 3, S, S) normalised images for the trunk; S is `config.image_size` unless a
                training schedule begins with smaller views (any multiple of 32 will do). N divides B: each image
                belongs to B/N phrases in a row, and passes once through what does not depend on them.
            union_pixel_values: (N, 3, U, U) the same images for the union encoder.
            input_ids: (B, L) token ids, begin 0, end 2.
            attention_mask: (B, L) bool, True = real token. Padding is hidden from every attention, so a batch
                gives what its samples give one by one.
        """
        phrases, images = len(input_ids), len(pixel_values)
        if not phrases or phrases % images:
            raise ValueError(f"{phrases} phrases cannot be shared evenly by {images} images")
        attention_mask = attention_mask.bool()
        union = self.union_encoder(per_phrase(union_pixel_values, phrases), input_ids, attention_mask)
        sparse_prompt = self.token_mlp(union.cls)
        text, text_weight = None, None
        if self.text_projection is not None:
            text = self.text_projection(union.text)
            if self.boundary_scalar is not None:
                text_weight = self.boundary_scalar(text[:, 0]).squeeze(-1)
        padding = None if not attention_mask.is_meta and bool(attention_mask.all()) else ~attention_mask

        state = self.trunk.look(pixel_values)
        found = self.candidates(state, sparse_prompt[:, 0]) if self.candidates is not None else None
        maps, _ = self.trunk(state, text, padding, marks=None if found is None else found.trunk_marks)
        fine, middle, coarse = self.feature_levels(maps)
        image = per_phrase(coarse + self.no_memory_embedding.transpose(1, 2)[..., None], phrases)
        details = [
            per_phrase(self.mask_decoder.conv_s0(fine), phrases),
            per_phrase(self.mask_decoder.conv_s1(middle), phrases),
        ]
        if found is not None:
            details[0] = details[0] + per_phrase(found.details, phrases)
        position = self.image_positions(image)
        if self.encoder_fusion is not None:
            image = self.encoder_fusion(image, position, text, padding)

        pseudo_logits, dense_prompt = self._dense_prompt(union.cls, union.visual, image)
        if found is not None:
            dense_prompt = dense_prompt + found.decoder_marks
        masks, iou_scores, _, presence = self.mask_decoder(
            image_embeddings=image,
            image_positional_embeddings=position,
            sparse_prompt_embeddings=sparse_prompt[:, None],
            dense_prompt_embeddings=dense_prompt,
            multimask_output=False,
            high_resolution_features=details,
        )
        low_res, score = masks[:, 0].float(), presence.float().flatten()
        if self.candidates is not None and found is not None:
            low_res = self.candidates.choose(found, low_res)
        decoded, object_score, selection = low_res, score, None
        if self.selector is not None and found is not None:
            selection = self.selector(found.survey, input_ids, attention_mask)
            low_res = self._selected(decoded, found.logits, selection)
            score = (object_score + selection.logits.amax(1)) / 2
        upsampled = [
            F.interpolate(each, size=pixel_values.shape[-2:], mode="bilinear", align_corners=False)
            for each in ((low_res,) if selection is None else (low_res, decoded))
        ]
        return RS2Sam2Output(
            logits=upsampled[0],
            decoded_logits=upsampled[-1],
            low_res_logits=low_res,
            pseudo_mask=None if pseudo_logits is None else pseudo_logits.sigmoid(),
            pseudo_mask_logits=pseudo_logits,
            text_weight=text_weight,
            presence_logits=score,
            object_score_logits=object_score,
            iou_scores=iou_scores.float().flatten(),
            prompt_token=sparse_prompt[:, 0],
            features=(fine, middle, coarse),
            image_embedding=image,
            image_maps=(*state.maps, state.features),
            candidates=found,
            selection=selection,
        )

    def probability(self, logits: Tensor) -> Tensor:
        """Foreground probability in [0, 1] of raw mask logits, any shape; 0.5 lies at `config.mask_threshold`."""
        logits = logits.float()
        return torch.sigmoid(2 * logits - 1) if self.config.two_class_logit else torch.sigmoid(logits)

    def _selected(self, decoded: Tensor, kinds: Tensor, selection: Selection) -> Tensor:
        """Mask logits (B, 1, S/4, S/4): of what is of the kind or drawn by the decoder, the objects that are meant.

        Args:
            decoded: what the decoder draws.
            kinds: what is of the named kind, for a plain sigmoid.
            selection: which objects are meant.
        """
        plain = 2 * decoded - 1 if self.config.two_class_logit else decoded
        meant = both(torch.maximum(plain, kinds), selection.cells())
        return (meant + 1) / 2 if self.config.two_class_logit else meant

    def feature_levels(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The trunk's four maps -> (., hidden, S/4, S/4), (., hidden, S/8, S/8), (., hidden, S/16, S/16)."""
        # The two coarse levels meet in the neck; the fine ones may stand for several phrases.
        most = max(len(level) for level in maps)
        outputs, _ = self.neck([*maps[:2], *(per_phrase(level, most) for level in maps[2:])])
        # The neck's own order is coarse to fine; its stride-32 level has done its work in the others.
        return tuple(reversed(outputs[1:]))

    def image_positions(self, image: Tensor) -> Tensor:
        """Dense position encoding (1, C, H, W) of the stride-16 grid, as SAM 2's prompt encoder defines it."""
        height, width = image.shape[-2:]
        y = (torch.arange(height, device=image.device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=image.device, dtype=torch.float32) + 0.5) / width
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        # Fourier frequencies: a product in half precision would blur far positions. (Where tensors have a size alone,
        # there is no precision either.)
        with nullcontext() if image.is_meta else torch.autocast(image.device.type, enabled=False):
            encoded: Tensor = self.prompt_encoder.shared_embedding(torch.stack([grid_x, grid_y], dim=-1))
        return encoded.permute(2, 0, 1)[None].expand(len(image), -1, -1, -1).to(image.dtype)

    def _dense_prompt(self, cls: Tensor, visual: Tensor, image: Tensor) -> tuple[Tensor | None, Tensor]:
        """Pseudo-mask logits (None without a generator) and SAM 2's dense prompt (B, C, H, W)."""
        if self.mask_prompt is None:
            empty = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
            return None, empty.expand_as(image)
        logits = self.mask_prompt(cls, visual)
        height, width = image.shape[-2:]
        prompt = as_mask_prompt(logits.sigmoid().float(), (4 * height, 4 * width))
        return logits, self.prompt_encoder.mask_embed(prompt.to(self.prompt_encoder.mask_embed.conv1.weight.dtype))

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fresh weights: Xavier for projections, near-silent adapters, small tables."""
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.MultiheadAttention):
            init.xavier_uniform_(module.in_proj_weight)
            init.zeros_(module.in_proj_bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, FusedHiera):
            init.normal_(module.pos_embed, std=0.02)
            init.normal_(module.pos_embed_window, std=0.02)
        elif isinstance(module, UnionEncoder):
            init.normal_(module.cls_token, std=0.02)
        elif isinstance(module, RS2Sam2Model):
            init.zeros_(module.no_memory_embedding)
            if module.candidates is not None:
                init.zeros_(module.candidates.query_bias)
                init.constant_(module.candidates.gains, FIRST_GAIN)
            if module.selector is not None:
                init.constant_(module.selector.meant.bias, FIRST_BIAS)
            # Here and not in their own turn: transformers passes over modules of foreign packages that hold no
            # parameter themselves.
            for part in module.modules():
                if isinstance(part, Adapter | BlockFusion):
                    init.normal_(part.up.weight, std=ADAPTER_INIT_STD)
                elif isinstance(part, EncoderFusion):
                    # Its result multiplies the image: around 1, a fresh layer lets SAM 2's features through.
                    init.ones_(part.image_from_text.out_proj.bias)
        elif isinstance(module, Sam2PositionalEmbedding):
            init.normal_(module.positional_embedding, std=module.scale)
