"""Sizes, ablation switches and answer rules of an RS2-SAM 2, as one typed and saved configuration."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal, TypeVar, get_args

from transformers import (
    PreTrainedConfig,
    Sam2HieraDetConfig,
    Sam2MaskDecoderConfig,
    Sam2PromptEncoderConfig,
    Sam2VisionConfig,
)

from refersat.models.beit3 import POSITION_OFFSET, UnionEncoderOptions
from refersat.models.fusion import BLOCK_FUSION_HEADS, ENCODER_FUSION_HEADS, BlockFusionKind
from refersat.models.hiera import StemKind
from refersat.models.mask_prompt import MASK_PROMPT_HEADS, MaskPromptKind

GLANCES = {0.0: (), 0.5: (0.5,), 0.25: (0.5, 0.25)}
"""The coarser views of each `glance`, as shares of the first one's side."""

PresenceKind = Literal["object_score", "mask_confidence"]
"""Where the score that the target is there comes from: SAM 2's object score (needs training with phrases that
name nothing) or the mask's own confidence (released weights)."""


PartConfig = TypeVar("PartConfig", bound=PreTrainedConfig)


class RS2Sam2Config(PreTrainedConfig):
    """Sizes, ablation switches and answer rules of an RS2-SAM 2 (defaults: the released model).

    Attributes:
        image_size: side of `pixel_values` in pixels, a multiple of 32.
        hidden_size: width of neck, text stream, prompts and mask decoder.
        union_*: the union encoder (BEiT-3); `vocab_size` and `text_positions` are its tables' rows.
        max_text_length: longest phrase in tokens, with begin and end.
        trunk_*: the Hiera trunk, one value per stage; `trunk_background` is the side of its coarse position map,
            `trunk_convolutions` how many residual 3x3 convolutions follow each block of a stage (for training from
            scratch; SAM 2 has none).
        stem: SAM 2's patch embedding or 3x3 convolutions (for training from scratch).
        decoder_feed_forward: width of the mask decoder's feed-forward network.
        block_fusion, mlp_adapter: what is added to each Hiera block.
        fusion_from_block: the first block with a fusion layer, 0 as released. What lies before is the same for all
            phrases about an image, and runs once for them.
        candidate_width: of the features in which objects of the named kind are found before one is chosen (for
            training from scratch); 0, as in SAM 2, is without.
        selection: has single objects found and those chosen that the phrase means (for training from scratch); needs
            `candidate_width`.
        glance: side of the coarsest view in which objects are looked for, too, as a share of the first one's, 0.5 or
            0.25: each view has half the side of the one before, to 32 px (`sightings`); 0 is without.
        second_look: has phrases of which no object seems to be meant choose again, among the objects of one more view
            that is half as large as the coarsest; it is looked at for their sake alone. Needs `selection`.
        least_coverage: where of no object that is chosen so much is drawn, as a share, all of them are drawn as their
            boxes with round corners: their name may be none that the model learned. 0 leaves it at that.
        refiner_width: of the layers that draw masks again in pixels (`mask_refiner`); 0, as in SAM 2, is without. Needs
            `candidate_width`.
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
    trunk_widths: list[int] = field(default_factory=lambda: [144, 288, 576, 1152])
    trunk_depths: list[int] = field(default_factory=lambda: [2, 6, 36, 4])
    trunk_heads: list[int] = field(default_factory=lambda: [2, 4, 8, 16])
    trunk_windows: list[int] = field(default_factory=lambda: [8, 4, 16, 8])
    trunk_global_blocks: list[int] = field(default_factory=lambda: [23, 33, 43])
    trunk_convolutions: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    trunk_background: int = 7
    stem: StemKind = "patch"
    decoder_feed_forward: int = 2048
    block_fusion: BlockFusionKind = "bi"
    fusion_from_block: int = 0
    candidate_width: int = 0
    selection: bool = False
    glance: float = 0.0
    second_look: bool = False
    least_coverage: float = 0.0
    refiner_width: int = 0
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
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        self._check_choices()
        self._check_sizes()
        self._check_trunk()

    def _check_choices(self) -> None:
        kinds = {
            "stem": StemKind,
            "block_fusion": BlockFusionKind,
            "mask_prompt": MaskPromptKind,
            "presence": PresenceKind,
        }
        for name, kind in kinds.items():
            choices = get_args(kind)
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)}")

    def _check_sizes(self) -> None:
        _check_multiple("image_size", self.image_size, 32)
        _check_multiple("union_patch_size", self.union_patch_size, 1)
        if self.union_image_size <= 0 or self.union_image_size % self.union_patch_size:
            raise ValueError(
                f"union_image_size {self.union_image_size} must be a multiple of union_patch_size "
                f"{self.union_patch_size}"
            )
        # The decoder's attention has 8 heads at half the width, its finest features an eighth of it.
        _check_multiple("hidden_size", self.hidden_size, 2 * ENCODER_FUSION_HEADS)
        _check_multiple("union_width", self.union_width, self.union_heads)
        if self.mask_prompt == "attention":
            _check_multiple("union_width", self.union_width, MASK_PROMPT_HEADS)
        if self.text_positions < self.max_text_length + POSITION_OFFSET:
            raise ValueError(
                f"text_positions {self.text_positions} must be at least max_text_length {self.max_text_length} "
                f"+ {POSITION_OFFSET}"
            )

    def _check_trunk(self) -> None:
        for name in ("trunk_widths", "trunk_depths", "trunk_heads", "trunk_windows"):
            values = getattr(self, name)
            if len(values) != 4 or min(values) < 1:
                raise ValueError(f"{name} must be 4 positive numbers, one per stage, not {values}")
        if len(self.trunk_convolutions) != 4 or min(self.trunk_convolutions) < 0:
            raise ValueError(f"trunk_convolutions must be 4 numbers, one per stage, not {self.trunk_convolutions}")
        if not 0 <= self.fusion_from_block < sum(self.trunk_depths):
            raise ValueError(
                f"fusion_from_block must be one of the {sum(self.trunk_depths)} blocks, not {self.fusion_from_block}"
            )
        if self.candidate_width < 0:
            raise ValueError(f"candidate_width must be a width or 0, not {self.candidate_width}")
        if self.candidate_width and self.block_fusion not in ("uni", "bi"):
            raise ValueError(f"candidate_width needs a block_fusion that hears the text, not {self.block_fusion}")
        if self.selection and not self.candidate_width:
            raise ValueError("selection needs a candidate_width: it chooses among what is found there")
        if self.glance not in GLANCES:
            raise ValueError(f"glance must be one of {', '.join(map(str, GLANCES))}, not {self.glance}")
        if self.glance and not self.selection:
            raise ValueError("glance needs selection: it finds more objects to choose from")
        if self.second_look and not self.selection:
            raise ValueError("second_look needs selection: it finds more objects to choose from")
        if not 0 <= self.least_coverage < 1:
            raise ValueError(f"least_coverage must be a share, from 0 to below 1, not {self.least_coverage}")
        if self.least_coverage and not self.selection:
            raise ValueError("least_coverage needs selection: it is of the objects that are chosen")
        if self.refiner_width < 0:
            raise ValueError(f"refiner_width must be a width or 0, not {self.refiner_width}")
        if self.refiner_width and not self.candidate_width:
            raise ValueError("refiner_width needs a candidate_width: the refiner sees what is found there")
        for width, heads in zip(self.trunk_widths, self.trunk_heads, strict=True):
            _check_multiple("trunk_widths", width, heads)
            if self.block_fusion in ("uni", "bi"):
                _check_multiple("trunk_widths", width, 4 * BLOCK_FUSION_HEADS)
        # Queries are pooled 2x2 inside the windows of the stage before.
        for window in self.trunk_windows[:3]:
            _check_multiple("trunk_windows before the last stage", window, 2)

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
        """The compact model that ships with the package: same architecture, trained from scratch, 448 px."""
        return cls(
            image_size=448,
            hidden_size=160,
            union_image_size=160,
            union_width=192,
            union_layers=3,
            union_heads=6,
            union_feed_forward=768,
            vocab_size=900,
            text_positions=66,
            max_text_length=64,
            trunk_widths=[64, 128, 192, 320],
            trunk_depths=[1, 2, 6, 1],
            trunk_heads=[1, 2, 3, 5],
            trunk_windows=[8, 8, 8, 8],
            trunk_global_blocks=[5, 6, 7, 8, 9],
            trunk_convolutions=[0, 1, 1, 0],
            trunk_background=12,
            fusion_from_block=6,
            candidate_width=64,
            selection=True,
            stem="convolutional",
            decoder_feed_forward=512,
            resize_antialias=True,
            presence="object_score",
            presence_threshold=0.5,
        )

    @property
    def glances(self) -> tuple[float, ...]:
        """Sides of the coarser views as shares of the first one's."""
        return GLANCES[self.glance]

    @property
    def second_glance(self) -> float | None:
        """Side of the view of the second look as a share of the first one's, if there is one."""
        return min((1.0, *self.glances)) / 2 if self.second_look else None

    @property
    def union_encoder_options(self) -> UnionEncoderOptions:
        """The union encoder's sizes."""
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
        """The neck's sizes in the terms of transformers."""
        return Sam2VisionConfig(backbone_channel_list=self.trunk_widths[::-1], fpn_hidden_size=self.hidden_size)

    def prompt_encoder_config(self) -> Sam2PromptEncoderConfig:
        """The prompt encoder's sizes in the terms of transformers."""
        return Sam2PromptEncoderConfig(hidden_size=self.hidden_size, image_size=self.image_size)

    def mask_decoder_config(self) -> Sam2MaskDecoderConfig:
        """The mask decoder's sizes in the terms of transformers."""
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


def _check_multiple(name: str, value: int, of: int) -> None:
    if value <= 0 or value % of:
        raise ValueError(f"{name} must be a multiple of {of}, not {value}")


def _with_attention(part: PartConfig, whole: RS2Sam2Config) -> PartConfig:
    """Sub-configurations of transformers do not inherit the attention implementation of the whole."""
    part._attn_implementation = whole._attn_implementation or "sdpa"
    return part
