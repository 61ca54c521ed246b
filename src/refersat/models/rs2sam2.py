"""RS2-SAM 2: configuration and assembly. `RS2Sam2Model.forward` reads like figure 2 of the paper.

Source: Rong, Lan, Zhang, Zhang, "RS2-SAM2: Customized SAM2 for Referring Remote Sensing Image Segmentation"
(AAAI 2026, arXiv 2503.07266). With every switch of its ablations (tables 3 and 4), and equal to the released
model: where paper and released weights differ, this follows the weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    PreTrainedConfig,
    PreTrainedModel,
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)
from transformers import initialization as init
from transformers.models.sam2.modeling_sam2 import (
    Sam2FeedForward,
    Sam2MaskDecoder,
    Sam2PositionalEmbedding,
    Sam2PromptEncoder,
    Sam2VisionNeck,
)
from transformers.utils import ModelOutput

from refersat.models.beit3 import UnionEncoder, UnionEncoderOptions
from refersat.models.fusion import Adapter, BlockFusion, BlockFusionKind, EncoderFusion
from refersat.models.hiera import FusedHiera, StemKind
from refersat.models.mask_prompt import MaskPromptGenerator, MaskPromptKind, as_mask_prompt

PresenceKind = Literal["object_score", "mask_confidence"]
"""Where the score that the target is there comes from: SAM 2's object score (needs training with phrases that
name nothing) or the mask's own confidence (released weights)."""

ADAPTER_INIT_STD = 1e-3
"""Fresh adapters start close to the function of the trunk that they adapt."""


class RS2Sam2Config(PreTrainedConfig):  # type: ignore[misc]
    """Sizes, ablation switches and answer rules of an RS2-SAM 2 (defaults: the released model).

    Attributes:
        image_size: side of `pixel_values` in pixels, a multiple of 32.
        hidden_size: width of neck, text stream, prompts and mask decoder.
        union_*: the union encoder (BEiT-3); `vocab_size` and `text_positions` are its tables' rows.
        max_text_length: longest phrase in tokens, with begin and end.
        trunk_*: the Hiera trunk, one value per stage; `trunk_background` is the side of its coarse position map.
        stem: SAM 2's patch embedding or 3x3 convolutions (for training from scratch).
        decoder_feed_forward: width of the mask decoder's feed-forward network.
        block_fusion, mlp_adapter: what is added to each Hiera block.
        encoder_fusion: fusion with the text after the encoder.
        mask_prompt: how the pseudo-mask is made.
        boundary_scalar: has the text scalar of the boundary loss.
        resize_antialias: how images are resized to the two views; False as released.
        mask_threshold: foreground where the raw logit is above; 0.5 is the released rule.
        two_class_logit: the logit p stands for the pair [1 - p, p] (RS2-SAM 2), else for a plain sigmoid (EVF-SAM 2).
        presence, presence_threshold: where the score comes from, and from which score on the target is there.
    """

    model_type = "rs2sam2"

    image_size: int = 1024
    hidden_size: int = 256
    union_image_size: int = 224
    union_patch_size: int = 16
    union_width: int = 1024
    union_layers: int = 24
    union_heads: int = 16
    union_feed_forward: int = 4096
    vocab_size: int = 64010
    text_positions: int = 1024
    max_text_length: int = 128
    trunk_widths: list[int] | None = None
    trunk_depths: list[int] | None = None
    trunk_heads: list[int] | None = None
    trunk_windows: list[int] | None = None
    trunk_global_blocks: list[int] | None = None
    trunk_background: int = 7
    stem: StemKind = "patch"
    decoder_feed_forward: int = 2048
    block_fusion: BlockFusionKind = "bi"
    mlp_adapter: bool = True
    encoder_fusion: bool = True
    mask_prompt: MaskPromptKind = "attention"
    boundary_scalar: bool = True
    resize_antialias: bool = False
    mask_threshold: float = 0.5
    two_class_logit: bool = True
    presence: PresenceKind = "mask_confidence"
    presence_threshold: float = 0.0

    def __post_init__(self, **kwargs: Any) -> None:
        self.trunk_widths = self.trunk_widths or [144, 288, 576, 1152]
        self.trunk_depths = self.trunk_depths or [2, 6, 36, 4]
        self.trunk_heads = self.trunk_heads or [2, 4, 8, 16]
        self.trunk_windows = self.trunk_windows or [8, 4, 16, 8]
        self.trunk_global_blocks = [23, 33, 43] if self.trunk_global_blocks is None else self.trunk_global_blocks
        super().__post_init__(**kwargs)
        if self.image_size % 32:
            raise ValueError(f"image_size must be a multiple of 32, not {self.image_size}")
        if self.union_image_size % self.union_patch_size:
            raise ValueError(
                f"union_image_size {self.union_image_size} must be a multiple of union_patch_size "
                f"{self.union_patch_size}"
            )

    @classmethod
    def large(cls) -> RS2Sam2Config:
        """The released model: Hiera large and BEiT-3 large, 1024 px."""
        return cls()

    @classmethod
    def evf_sam2(cls) -> RS2Sam2Config:
        """The released EVF-SAM 2: the same towers without any of RS2-SAM 2's additions."""
        return cls(
            block_fusion="none",
            mlp_adapter=False,
            encoder_fusion=False,
            mask_prompt="none",
            boundary_scalar=False,
            mask_threshold=0.0,
            two_class_logit=False,
        )

    @classmethod
    def reference_small(cls) -> RS2Sam2Config:
        """Hiera tiny and two BEiT-3 layers: the configuration of the recorded reference outputs."""
        return cls(
            union_layers=2,
            trunk_widths=[96, 192, 384, 768],
            trunk_depths=[1, 2, 7, 2],
            trunk_heads=[1, 2, 4, 8],
            trunk_windows=[8, 4, 14, 7],
            trunk_global_blocks=[5, 7, 9],
        )

    @classmethod
    def built_in(cls) -> RS2Sam2Config:
        """The compact model that ships with the package: same architecture, trained from scratch, 384 px."""
        return cls(
            image_size=384,
            hidden_size=128,
            union_image_size=160,
            union_width=192,
            union_layers=3,
            union_heads=6,
            union_feed_forward=768,
            vocab_size=1000,
            text_positions=66,
            max_text_length=64,
            trunk_widths=[32, 80, 160, 320],
            trunk_depths=[1, 2, 5, 1],
            trunk_heads=[1, 2, 4, 8],
            trunk_windows=[8, 8, 8, 8],
            trunk_global_blocks=[5, 7, 8],
            trunk_background=12,
            stem="convolutional",
            decoder_feed_forward=512,
            resize_antialias=True,
            presence="object_score",
            presence_threshold=0.5,
        )

    @property
    def union_encoder_options(self) -> UnionEncoderOptions:
        return UnionEncoderOptions(
            image_size=self.union_image_size,
            patch_size=self.union_patch_size,
            width=self.union_width,
            layers=self.union_layers,
            heads=self.union_heads,
            feed_forward=self.union_feed_forward,
            vocabulary=self.vocab_size,
            text_positions=self.text_positions,
        )

    def trunk_config(self) -> Sam2HieraDetConfig:
        """The trunk's sizes in the terms of transformers."""
        assert self.trunk_widths is not None
        return _with_attention(
            Sam2HieraDetConfig(
                hidden_size=self.trunk_widths[0],
                image_size=[self.image_size, self.image_size],
                query_stride=[2, 2],
                window_positional_embedding_background_size=[self.trunk_background] * 2,
                blocks_per_stage=self.trunk_depths,
                embed_dim_per_stage=self.trunk_widths,
                num_attention_heads_per_stage=self.trunk_heads,
                window_size_per_stage=self.trunk_windows,
                global_attention_blocks=self.trunk_global_blocks,
            ),
            self,
        )

    def neck_config(self) -> Sam2VisionConfig:
        assert self.trunk_widths is not None
        return Sam2VisionConfig(backbone_channel_list=self.trunk_widths[::-1], fpn_hidden_size=self.hidden_size)

    def prompt_encoder_config(self) -> Sam2PromptEncoderConfig:
        return Sam2PromptEncoderConfig(hidden_size=self.hidden_size, image_size=self.image_size)

    def mask_decoder_config(self) -> Sam2MaskDecoderConfig:
        # Dynamic multi-mask selection acts in eval mode only and is off in the released model.
        return _with_attention(
            Sam2MaskDecoderConfig(
                hidden_size=self.hidden_size,
                mlp_dim=self.decoder_feed_forward,
                iou_head_hidden_dim=self.hidden_size,
                dynamic_multimask_via_stability=False,
            ),
            self,
        )


def _with_attention(part: Any, whole: RS2Sam2Config) -> Any:
    part._attn_implementation = whole._attn_implementation or "sdpa"
    return part


@dataclass
class RS2Sam2Output(ModelOutput):  # type: ignore[misc]
    """What `RS2Sam2Model` answers for B pairs of image and phrase; S is the side of `pixel_values`.

    Attributes:
        logits: (B, 1, S, S) decoder logits, up-sampled; foreground where > `config.mask_threshold`.
        low_res_logits: (B, 1, S/4, S/4).
        pseudo_mask: (B, 1, G, G) probabilities of the mask prompt generator, or None without one.
        pseudo_mask_logits: the same before the sigmoid.
        text_weight: (B,) the boundary loss's scalar, or None without one.
        presence_logits: (B,) SAM 2's object score logit.
        iou_scores: (B,) SAM 2's own estimate of the mask's IoU, 0..1.
        features: neck outputs at strides 4, 8 and 16, (B, hidden, S/4, S/4) and so on.
    """

    logits: Tensor | None = None
    low_res_logits: Tensor | None = None
    pseudo_mask: Tensor | None = None
    pseudo_mask_logits: Tensor | None = None
    text_weight: Tensor | None = None
    presence_logits: Tensor | None = None
    iou_scores: Tensor | None = None
    features: tuple[Tensor, ...] | None = None


class RS2Sam2Model(PreTrainedModel):  # type: ignore[misc]
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
        self.trunk = FusedHiera(
            config.trunk_config(),
            text_width=hidden,
            fusion=config.block_fusion,
            adapter=config.mlp_adapter,
            stem=config.stem,
        )
        self.neck = Sam2VisionNeck(config.neck_config())
        self.no_memory_embedding = nn.Parameter(torch.zeros(1, 1, hidden))
        self.encoder_fusion = EncoderFusion(hidden) if config.encoder_fusion else None
        self.prompt_encoder = Sam2PromptEncoder(config.prompt_encoder_config())
        self.mask_decoder = Sam2MaskDecoder(config.mask_decoder_config())
        self.boundary_scalar = nn.Linear(hidden, 1) if config.boundary_scalar else None
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
            pixel_values: (B, 3, S, S) normalised image for the trunk; S is `config.image_size` unless a
                training schedule begins with smaller views (any multiple of 32 will do).
            union_pixel_values: (B, 3, U, U) the same image for the union encoder.
            input_ids: (B, L) token ids, begin 0, end 2.
            attention_mask: (B, L) bool, True = real token. Padding is hidden from every attention, so a batch
                gives what its samples give one by one.
        """
        union = self.union_encoder(union_pixel_values, input_ids, attention_mask)
        sparse_prompt = self.token_mlp(union.cls)
        text, text_weight = None, None
        if self.text_projection is not None:
            text = self.text_projection(union.text)
            if self.boundary_scalar is not None:
                text_weight = self.boundary_scalar(text[:, 0]).squeeze(-1)
        padding = None if bool(attention_mask.all()) else ~attention_mask

        maps, _ = self.trunk(pixel_values, text, padding)
        features = self._neck_features(maps)
        position = self._image_positions(features[-1])
        image = features[-1] + self.no_memory_embedding.transpose(1, 2)[..., None]
        if self.encoder_fusion is not None:
            image = self.encoder_fusion(image, position, text, padding)

        pseudo_logits, dense_prompt = self._dense_prompt(union.cls, union.visual, image)
        masks, iou_scores, _, presence = self.mask_decoder(
            image_embeddings=image,
            image_positional_embeddings=position,
            sparse_prompt_embeddings=sparse_prompt[:, None],
            dense_prompt_embeddings=dense_prompt,
            multimask_output=False,
            high_resolution_features=[self.mask_decoder.conv_s0(features[0]), self.mask_decoder.conv_s1(features[1])],
        )
        low_res = masks[:, 0].float()
        return RS2Sam2Output(
            logits=F.interpolate(low_res, size=pixel_values.shape[-2:], mode="bilinear", align_corners=False),
            low_res_logits=low_res,
            pseudo_mask=None if pseudo_logits is None else pseudo_logits.sigmoid(),
            pseudo_mask_logits=pseudo_logits,
            text_weight=text_weight,
            presence_logits=presence.float().flatten(),
            iou_scores=iou_scores.float().flatten(),
            features=features,
        )

    def probability(self, logits: Tensor) -> Tensor:
        """Foreground probability in [0, 1] of raw mask logits, any shape; 0.5 lies at `config.mask_threshold`."""
        logits = logits.float()
        return torch.sigmoid(2 * logits - 1) if self.config.two_class_logit else torch.sigmoid(logits)

    def _neck_features(self, maps: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Strides 4, 8, 16; the neck's own order is coarse to fine, its stride-32 level is not used."""
        outputs, _ = self.neck(maps)
        return tuple(reversed(outputs[1:]))

    def _image_positions(self, image: Tensor) -> Tensor:
        """Dense position encoding (1, C, H, W) of the stride-16 grid, as SAM 2's prompt encoder defines it."""
        height, width = image.shape[-2:]
        y = (torch.arange(height, device=image.device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=image.device, dtype=torch.float32) + 0.5) / width
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        encoded = self.prompt_encoder.shared_embedding(torch.stack([grid_x, grid_y], dim=-1))
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
        elif isinstance(module, Adapter | BlockFusion):
            init.normal_(module.up.weight, std=ADAPTER_INIT_STD)
        elif isinstance(module, FusedHiera):
            init.normal_(module.pos_embed, std=0.02)
            init.normal_(module.pos_embed_window, std=0.02)
        elif isinstance(module, UnionEncoder):
            init.normal_(module.cls_token, std=0.02)
        elif isinstance(module, RS2Sam2Model):
            init.zeros_(module.no_memory_embedding)
        elif isinstance(module, Sam2PositionalEmbedding):
            init.normal_(module.positional_embedding, std=module.scale)
