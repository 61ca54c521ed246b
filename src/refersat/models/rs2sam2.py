"""RS2-SAM 2: the assembly. `RS2Sam2Model.forward` reads like figure 2 of the paper.

Source: Rong, Lan, Zhang, Zhang, "RS2-SAM2: Customized SAM2 for Referring Remote Sensing Image Segmentation"
(AAAI 2026, arXiv 2503.07266). With every switch of its ablations (tables 3 and 4), and equal to the released
model: where paper and released weights differ, this follows the weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import initialization as init
from transformers.models.sam2.modeling_sam2 import (
    Sam2FeedForward,
    Sam2MaskDecoder,
    Sam2PositionalEmbedding,
    Sam2PromptEncoder,
    Sam2VisionNeck,
)

from refersat.models.beit3 import UnionEncoder
from refersat.models.candidates import FIRST_GAIN, CandidateFinder, Candidates
from refersat.models.configuration import RS2Sam2Config
from refersat.models.eye import trunk_of
from refersat.models.fusion import Adapter, BlockFusion, EncoderFusion
from refersat.models.hiera import FusedHiera, per_phrase
from refersat.models.mask_prompt import MaskPromptGenerator, as_mask_prompt
from refersat.models.mask_refiner import MaskRefiner
from refersat.models.preprocess import reduced
from refersat.models.rs2sam2_output import Heard, RS2Sam2Output, Seen
from refersat.models.selected_masks import Meant
from refersat.models.selection import FIRST_BIAS, INSTANCES, InstanceSelector, Selection
from refersat.models.sightings import Sighting, Sightings
from refersat.models.some_images import SomeImages
from refersat.models.tracing import surely
from refersat.models.with_tokenizer import WithTokenizer

__all__ = ["RS2Sam2Config", "RS2Sam2Model"]

ADAPTER_INIT_STD = 1e-3
"""Fresh adapters start close to the function of the trunk that they adapt."""

PIXELS_OF_A_CELL = 4
"""The decoder draws one cell for so many pixels along each side."""


class RS2Sam2Model(WithTokenizer):
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
        self.neck.position_encoding = _NoPositions()  # type: ignore[assignment]
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
        self.refiner = MaskRefiner(config.candidate_width, config.refiner_width) if config.refiner_width else None
        self.post_init()

    def forward(
        self,
        pixel_values: Tensor,
        union_pixel_values: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        decoded_alone: bool = False,
        choice: Callable[[Selection], Tensor] | None = None,
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
            decoded_alone: only what the decoder draws is wanted, as in its training: no coarser views, no refiner.
            choice: gives logits (B, K) that objects are meant, in the place of the selector's: those of the truth.
        """
        phrases, images = input_ids.shape[0], pixel_values.shape[0]
        if not phrases or phrases % images:
            raise ValueError(f"{phrases} phrases cannot be shared evenly by {images} images")
        attention_mask = attention_mask.bool()
        heard = self.hear(per_phrase(union_pixel_values, phrases), input_ids, attention_mask)
        if decoded_alone:
            return self.draw(heard, [self.see(pixel_values, heard, attention_mask)], input_ids, attention_mask)
        seen = [self.see(view, heard, attention_mask) for view in self.views(pixel_values)]
        seen[0] = replace(seen[0], texture=self.texture(pixel_values, seen[0].candidates))
        coarsest = self.config.second_glance

        def look_again(some: SomeImages) -> Seen:
            assert coarsest is not None
            view = reduced(some.of_images(pixel_values), coarsest)
            return self.see(view, some.of_phrases(heard), some.of_phrases(attention_mask))

        again = None if coarsest is None else look_again
        return self.draw(heard, seen, input_ids, attention_mask, choice=choice, again=again)

    def views(self, pixel_values: Tensor) -> list[Tensor]:
        """The views (N, 3, S, S) in which objects are always looked for, the finest first."""
        return [pixel_values, *(reduced(pixel_values, share) for share in self.config.glances)]

    def hear(self, union_pixel_values: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Heard:
        """What each phrase says about its image; arguments as in `forward`, with one image for each phrase."""
        union = self.union_encoder(union_pixel_values, input_ids, attention_mask)
        text, text_weight = None, None
        if self.text_projection is not None:
            text = self.text_projection(union.text)
            if self.boundary_scalar is not None:
                text_weight = self.boundary_scalar(text[:, 0]).squeeze(-1)
        return Heard(
            prompt_token=self.token_mlp(union.cls)[:, 0],
            text=text,
            pseudo_mask_logits=None if self.mask_prompt is None else self.mask_prompt(union.cls, union.visual),
            text_weight=text_weight,
        )

    def see(self, pixel_values: Tensor, heard: Heard, attention_mask: Tensor) -> Seen:
        """What trunk and all fusion make of one view of the images when they have heard the phrases; as above."""
        phrases = heard.prompt_token.shape[0]
        padding = None if surely(attention_mask) else ~attention_mask
        state = self.trunk.look(pixel_values)
        found = self.candidates(state, heard.prompt_token) if self.candidates is not None else None
        maps, _ = self.trunk(state, heard.text, padding, marks=None if found is None else found.trunk_marks)
        fine, middle, coarse = self.feature_levels(maps)
        image = per_phrase(coarse + self.no_memory_embedding.transpose(1, 2)[..., None], phrases)
        details = [
            per_phrase(self.mask_decoder.conv_s0(fine), phrases),
            per_phrase(self.mask_decoder.conv_s1(middle), phrases),
        ]
        if found is not None:
            details[0] = details[0] + per_phrase(found.details, phrases)
        if self.encoder_fusion is not None:
            image = self.encoder_fusion(image, self.image_positions(image), heard.text, padding)
        return Seen(image, details, found, features=(fine, middle, coarse), maps=(*state.maps, state.features))

    def texture(self, pixel_values: Tensor, found: Candidates | None) -> Tensor | None:
        """What the refiner, if there is one, sees in the images' finest view and what was found there."""
        if self.refiner is None:
            return None
        assert found is not None
        return self.refiner.look(pixel_values, found.survey.features)

    def draw(
        self,
        heard: Heard,
        seen: Sequence[Seen],
        input_ids: Tensor,
        attention_mask: Tensor,
        *,
        choice: Callable[[Selection], Tensor] | None = None,
        again: Callable[[SomeImages], Seen] | None = None,
    ) -> RS2Sam2Output:
        """The masks, from what was heard and seen in one view or more, the finest first; arguments as above.

        `again` gives what a coarser view shows of some images: those about which there are phrases of which no object
        in the others seems to be meant.
        """
        decoded, object_score, iou_scores = self._decode(heard, seen[0])
        low_res, score, selection, boxes = decoded, object_score, None, None
        if self.selector is not None:
            drawn = [decoded, *(self._decode(heard, view)[0] for view in seen[1:])]
            found = [self._shown(view, mask) for view, mask in zip(seen, drawn, strict=True)]
            meant = self._meant(found, input_ids, attention_mask, choice)
            selection = meant.selection
            if again is not None and not surely(~selection.unsure()):
                # A choice is about all of them.
                some = SomeImages.with_any(selection.unsure() | (choice is not None), selection.objectness.shape[0])
                coarse = again(some)
                found = [(some.of_images(sighting), some.of_phrases(shown)) for sighting, shown in found]
                found.append(self._shown(coarse, self._decode(some.of_phrases(heard), coarse)[0]))
                questions = some.of_phrases((input_ids, attention_mask))
                meant = meant.if_unsure(self._meant(found, *questions, choice), some)
            low_res, boxes = self._as_drawn(meant.masks), meant.boxes
            score = (object_score + selection.logits.amax(1)) / 2
        decoded_logits = _in_pixels(decoded)
        logits = decoded_logits if selection is None else _in_pixels(low_res)
        if self.refiner is not None and seen[0].texture is not None:
            logits = self._as_drawn(self.refiner(self.plain(low_res), seen[0].texture))
        if boxes is not None:
            logits = torch.maximum(logits, self._as_drawn(_in_pixels(boxes)))
        pseudo_logits = heard.pseudo_mask_logits
        return RS2Sam2Output(
            logits=logits,
            decoded_logits=decoded_logits,
            low_res_logits=low_res,
            pseudo_mask=None if pseudo_logits is None else pseudo_logits.sigmoid(),
            pseudo_mask_logits=pseudo_logits,
            text_weight=heard.text_weight,
            presence_logits=score,
            object_score_logits=object_score,
            iou_scores=iou_scores,
            prompt_token=heard.prompt_token,
            features=seen[0].features,
            image_embedding=seen[0].image,
            image_maps=seen[0].maps,
            candidates=seen[0].candidates,
            selection=selection,
        )

    def _shown(self, seen: Seen, drawn: Tensor) -> tuple[Sighting, Tensor]:
        """The objects of a view, and logits (B, 1, h, w) of what is of the kind there or `drawn` by the decoder.

        In the end the decoder draws the objects that were taken from it.
        """
        assert self.selector is not None and seen.candidates is not None
        return self.selector.sight(seen.candidates.survey), torch.maximum(self.plain(drawn), seen.candidates.logits)

    def _meant(
        self,
        found: Sequence[tuple[Sighting, Tensor]],
        input_ids: Tensor,
        attention_mask: Tensor,
        choice: Callable[[Selection], Tensor] | None,
    ) -> Meant:
        """What phrases mean among the objects in views; `found` is of `_shown`."""
        assert self.selector is not None
        sightings = Sightings.of([sighting for sighting, _ in found], count=INSTANCES)
        selection = self.selector.select(sightings, input_ids, attention_mask)
        if choice is not None:
            selection = replace(selection, logits=choice(selection))
        return Meant.of(selection, [shown for _, shown in found], least_coverage=self.config.least_coverage)

    def _decode(self, heard: Heard, seen: Seen) -> tuple[Tensor, Tensor, Tensor]:
        """What the mask decoder makes of a view: mask logits (B, 1, S/4, S/4), object scores (B,), IoU scores (B,)."""
        image, found = seen.image, seen.candidates
        dense_prompt = self._dense_prompt(heard.pseudo_mask_logits, image)
        if found is not None:
            dense_prompt = dense_prompt + found.decoder_marks
        masks, iou_scores, _, presence = self.mask_decoder(
            image_embeddings=image,
            image_positional_embeddings=self.image_positions(image),
            sparse_prompt_embeddings=heard.prompt_token[:, None, None],
            dense_prompt_embeddings=dense_prompt,
            multimask_output=False,
            high_resolution_features=seen.details,
        )
        low_res = masks[:, 0].float()
        if self.candidates is not None and found is not None:
            low_res = self.candidates.choose(found, low_res)
        return low_res, presence.float().flatten(), iou_scores.float().flatten()

    def probability(self, logits: Tensor) -> Tensor:
        """Foreground probability in [0, 1] of raw mask logits, any shape; 0.5 lies at `config.mask_threshold`."""
        return torch.sigmoid(self.plain(logits.float()))

    def plain(self, logits: Tensor) -> Tensor:
        """Raw mask logits -> those of the same probabilities for a plain sigmoid."""
        return 2 * logits - 1 if self.config.two_class_logit else logits

    def _as_drawn(self, logits: Tensor) -> Tensor:
        """The inverse of `plain`."""
        return (logits + 1) / 2 if self.config.two_class_logit else logits

    def feature_levels(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The trunk's four maps -> (., hidden, S/4, S/4), (., hidden, S/8, S/8), (., hidden, S/16, S/16)."""
        # The two coarse levels meet in the neck; the fine ones may stand for several phrases.
        most = max(level.shape[0] for level in maps)
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
        return encoded.permute(2, 0, 1)[None].expand(image.shape[0], -1, -1, -1).to(image.dtype)

    def _dense_prompt(self, pseudo_mask_logits: Tensor | None, image: Tensor) -> Tensor:
        """SAM 2's dense prompt (B, C, H, W) from the pseudo-mask, if there is one."""
        if pseudo_mask_logits is None:
            return self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand_as(image)
        height, width = image.shape[-2:]
        prompt = as_mask_prompt(pseudo_mask_logits.sigmoid().float(), (4 * height, 4 * width))
        embed = self.prompt_encoder.mask_embed
        return cast(Tensor, embed(prompt.to(embed.conv1.weight.dtype)))

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
            if module.refiner is not None:  # a fresh one changes nothing
                init.zeros_(module.refiner.correction.weight)
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


def _in_pixels(cells: Tensor) -> Tensor:
    """(B, 1, S/4, S/4) -> (B, 1, S, S)."""
    size = [PIXELS_OF_A_CELL * side for side in cells.shape[-2:]]
    return F.interpolate(cells, size=size, mode="bilinear", align_corners=False)


class _NoPositions(nn.Module):
    """In place of the neck's position encodings, which cost more than the neck itself and which nothing here reads."""

    def forward(self, shape: torch.Size, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Nothing."""
        return torch.empty(0, device=device, dtype=dtype)
