"""Sizes and choices of the language-query grounder, as one typed and saved configuration."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Literal, get_args

from transformers import DeformableDetrConfig, PreTrainedConfig, ResNetConfig, RobertaConfig

ImageNetworkKind = Literal["resnet", "convolutions", "eye"]
"""ResNet with frozen norms, which needs pretrained weights (the paper's); a compact network that does not; or the
frozen eye of a model of ours, which learned from few images what objects look like."""

TextNetworkKind = Literal["roberta", "lstm"]
"""RoBERTa with its own tokenizer (the paper's), or a small bidirectional LSTM with ours."""

MergeKind = Literal["add", "multiply"]
"""What alignment does with what a token has heard: adds it (our default), or lets it gate the token."""

FirstBoxesKind = Literal["learned", "objects"]
"""Where queries look first: at learned places (the paper's), or at the objects that the eye finds (in the manner of
two-stage Deformable DETR), each judged at first by the selector that comes with the eye."""

AnswerKind = Literal["best", "hull"]
"""The box of the best query (the paper's), or the hull of all whose score is half at least: a phrase may name several
objects, and then each of them is a target of its own."""

NORM_GROUPS = 32
_ROBERTA_OFFSET = 2  # its positions begin behind the padding index


class GroundingConfig(PreTrainedConfig):
    """Sizes and choices of a language-query grounder (defaults: the paper's).

    Attributes:
        image_size: side of the square that images are letterboxed into, a multiple of 32.
        hidden_size: width of everything behind the two networks, a multiple of 32.
        image_network: what sees the image; `image_widths` and `image_depths` are those of its strides 4, 8, 16, 32.
        text_network: what reads the phrase; `text_width` and `text_layers` are its sizes, `text_heads` and
            `text_feed_forward` RoBERTa's alone.
        vocab_size: rows of the word table.
        max_text_length: longest phrase in tokens, with begin and end.
        merge: see `MergeKind`; the paper does not say.
        first_boxes: see `FirstBoxesKind`.
        answer: see `AnswerKind`.
        eye: configuration of the model that the eye is taken from.
        eye_model: name of that model, or its folder, be it relative to this one's.
        eye_sha256: of the eye's weights; see `eye.digest_of`.
        queries: language queries, each of which proposes a box.
        encoder_layers, decoder_layers, heads, points, feed_forward, dropout: of the deformable transformer; `heads`
            and `dropout` also of the alignment.
        presence_threshold: score from which on the target counts as there [ours]; needs training with phrases that
            name nothing.
    """

    model_type = "refersat-grounder"

    image_size: int = 800
    hidden_size: int = 256
    image_network: ImageNetworkKind = "resnet"
    image_widths: list[int] = field(default_factory=lambda: [256, 512, 1024, 2048])
    image_depths: list[int] = field(default_factory=lambda: [3, 4, 6, 3])
    text_network: TextNetworkKind = "roberta"
    text_width: int = 768
    text_layers: int = 12
    text_heads: int = 12
    text_feed_forward: int = 3072
    vocab_size: int = 50265
    max_text_length: int = 64
    merge: MergeKind = "add"
    first_boxes: FirstBoxesKind = "learned"
    answer: AnswerKind = "best"
    eye: dict[str, Any] = field(default_factory=dict)
    eye_model: str = ""
    eye_sha256: str = ""
    queries: int = 10
    encoder_layers: int = 4
    decoder_layers: int = 4
    heads: int = 8
    points: int = 4
    feed_forward: int = 2048
    dropout: float = 0.1
    presence_threshold: float = 0.5

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        kinds = {
            "image_network": ImageNetworkKind,
            "text_network": TextNetworkKind,
            "merge": MergeKind,
            "first_boxes": FirstBoxesKind,
            "answer": AnswerKind,
        }
        for name, kind in kinds.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} must be one of {', '.join(get_args(kind))}, not {getattr(self, name)}")
        for name, of in (("image_size", 32), ("hidden_size", NORM_GROUPS), ("hidden_size", 4 * self.heads)):
            if getattr(self, name) <= 0 or getattr(self, name) % of:
                raise ValueError(f"{name} must be a multiple of {of}, not {getattr(self, name)}")
        for name in ("image_widths", "image_depths"):
            if len(getattr(self, name)) != 4 or min(getattr(self, name)) < 1:
                raise ValueError(f"{name} must be 4 positive numbers, one per stride, not {getattr(self, name)}")
        for name in ("queries", "encoder_layers", "decoder_layers", "text_layers", "points"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if (self.image_network == "eye") != bool(self.eye):
            raise ValueError("eye must be the configuration of a model for an image_network eye, and empty for others")
        if self.first_boxes == "objects" and self.image_network != "eye":
            raise ValueError("first_boxes objects needs an image_network eye, which finds them")
        if self.text_network == "lstm" and self.text_width % 2:
            raise ValueError(f"text_width must be even for an lstm, half for each direction, not {self.text_width}")

    @classmethod
    def lqvg(cls) -> GroundingConfig:
        """The paper's: ResNet-50 and RoBERTa base, 800 px."""
        return cls()

    @classmethod
    def built_in(cls) -> GroundingConfig:
        """The compact one, trained from scratch: a few convolutions and a bidirectional LSTM, 384 px."""
        return cls(
            image_size=384,
            hidden_size=128,
            image_network="convolutions",
            image_widths=[48, 96, 160, 256],
            image_depths=[1, 2, 3, 2],
            text_network="lstm",
            text_width=192,
            text_layers=1,
            vocab_size=1000,
            encoder_layers=2,
            decoder_layers=3,
            heads=4,
            feed_forward=512,
        )

    @classmethod
    def behind_eye(cls, eye: dict[str, Any], **changes: Any) -> GroundingConfig:
        """The compact one behind the eye of a model of this configuration, at whose objects its queries begin."""
        return cls(
            **{
                "image_size": eye["image_size"],
                "hidden_size": 96,
                "image_network": "eye",
                "eye": eye,
                "first_boxes": "objects",
                "answer": "hull",
                "text_network": "lstm",
                "text_width": 128,
                "text_layers": 1,
                "vocab_size": eye["vocab_size"],
                "max_text_length": eye["max_text_length"],
                "encoder_layers": 1,
                "decoder_layers": 2,
                "heads": 3,
                "feed_forward": 192,
                **changes,
            }
        )

    @property
    def levels(self) -> int:
        """Feature levels: of strides 8 to 64, or behind an eye 16 to 64."""
        return 3 if self.image_network == "eye" else 4

    @property
    def norm_groups(self) -> int:
        """Of the norms of the levels: 32, or fewer where they would hold less than four channels."""
        return min(NORM_GROUPS, self.hidden_size // 4)

    def resnet_config(self) -> ResNetConfig:
        """The image network's sizes in the terms of transformers."""
        config = ResNetConfig(
            embedding_size=self.image_widths[0] // 4, hidden_sizes=self.image_widths, depths=self.image_depths
        )
        config.out_features = ["stage1", "stage2", "stage3", "stage4"]
        return config

    def roberta_config(self) -> RobertaConfig:
        """The text network's sizes in the terms of transformers; those that are not ours are RoBERTa's own."""
        return RobertaConfig(
            vocab_size=self.vocab_size,
            hidden_size=self.text_width,
            num_hidden_layers=self.text_layers,
            num_attention_heads=self.text_heads,
            intermediate_size=self.text_feed_forward,
            max_position_embeddings=512 + _ROBERTA_OFFSET,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
        )

    def transformer_config(self) -> DeformableDetrConfig:
        """The deformable transformer's sizes in the terms of transformers."""
        config = DeformableDetrConfig(
            backbone_config=ResNetConfig(),  # unused: only its encoder and decoder are
            d_model=self.hidden_size,
            num_queries=self.queries,
            num_feature_levels=self.levels,
            encoder_layers=self.encoder_layers,
            decoder_layers=self.decoder_layers,
            encoder_attention_heads=self.heads,
            decoder_attention_heads=self.heads,
            encoder_ffn_dim=self.feed_forward,
            decoder_ffn_dim=self.feed_forward,
            encoder_n_points=self.points,
            decoder_n_points=self.points,
            dropout=self.dropout,
            with_box_refine=True,
            disable_custom_kernels=True,
        )
        config._attn_implementation = self._attn_implementation or "sdpa"
        return config
