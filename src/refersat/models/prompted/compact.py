"""A compact SAM 2: the frozen eye of a model of ours, with a neck, SAM 2's prompt encoder and its mask decoder.

It reads no phrase. Boxes, points and earlier masks are its prompts, and it knows of no kinds of objects. Unlike SAM 2
it is told where a box is by more than tokens, or it would need millions of masks to learn that: a box counts as an
earlier mask that fills it, a point as one around it, and what the decoder draws is added to that.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, Sam2MaskDecoderConfig, Sam2PromptEncoderConfig
from transformers import initialization as init
from transformers.models.sam2.modeling_sam2 import (
    Sam2LayerNorm,
    Sam2MaskDecoder,
    Sam2PositionalEmbedding,
    Sam2PromptEncoder,
)

from refersat.models.convolutions import ResidualConvolutions
from refersat.models.eye import Eye, Sight, eye_config, open_eye, without_eye
from refersat.models.filled_boxes import filling
from refersat.models.peers.pretrained import load_network
from refersat.models.prompted.segmenter import Seen, on_one_image

HEADS = 8

AROUND_POINT = 0.1
"""Side of the box that a point without one stands for, as a share of the image's."""


class CompactSamConfig(PreTrainedConfig):
    """Sizes of a compact SAM 2.

    Attributes:
        eye: configuration of the model that its eye is taken from.
        eye_model: name of that model, or its folder, be it relative to this one's.
        eye_sha256: of the eye's weights; see `eye.digest_of`.
        hidden_size: width of prompts and mask decoder.
        feed_forward: width of the mask decoder's feed-forward network.
    """

    model_type = "refersat-sam"

    eye: dict[str, Any] = field(default_factory=dict)
    eye_model: str = "built-in"
    eye_sha256: str = ""
    hidden_size: int = 128
    feed_forward: int = 384

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]
        # The decoder's attention has 8 heads at half the width.
        if self.hidden_size <= 0 or self.hidden_size % (2 * HEADS):
            raise ValueError(f"hidden_size must be a multiple of {2 * HEADS}, not {self.hidden_size}")


@dataclass(frozen=True)
class Drawn:
    """One mask for each of B prompts: logits (B, S/4, S/4), and what it thinks of their IoU (B,), 0..1."""

    logits: Tensor
    ious: Tensor


class CompactSamModel(PreTrainedModel):
    """Image and prompts in, masks out."""

    config_class = CompactSamConfig
    config: CompactSamConfig
    base_model_prefix = "sam"
    main_input_name = "pixel_values"
    _supports_sdpa = True
    _keys_to_ignore_on_load_missing = [r"^eye\."]  # noqa: RUF012  Transformers' own way to say it

    def __init__(self, config: CompactSamConfig) -> None:
        super().__init__(config)
        seen, hidden = eye_config(config.eye), config.hidden_size
        self.eye = Eye(seen)
        fine, middle, coarse = self.eye.widths
        self.neck = nn.ModuleDict(
            {
                # An eye's maps are as large as their last layer made them.
                "fine_norm": Sam2LayerNorm(fine, data_format="channels_first"),
                "middle_norm": Sam2LayerNorm(middle, data_format="channels_first"),
                "coarse_norm": Sam2LayerNorm(coarse, data_format="channels_first"),
                "fine": nn.Conv2d(fine, hidden, kernel_size=4, stride=4),
                "middle": nn.Conv2d(middle, hidden, kernel_size=2, stride=2),
                "coarse": nn.Conv2d(coarse, hidden, kernel_size=1),
                "merge": ResidualConvolutions(hidden),
            }
        )
        self.prompt_encoder = Sam2PromptEncoder(Sam2PromptEncoderConfig(hidden_size=hidden, image_size=seen.image_size))
        decoder = Sam2MaskDecoderConfig(
            hidden_size=hidden,
            mlp_dim=config.feed_forward,
            num_attention_heads=HEADS,
            iou_head_hidden_dim=hidden,
            dynamic_multimask_via_stability=False,
        )
        decoder._attn_implementation = config._attn_implementation or "sdpa"
        self.mask_decoder = Sam2MaskDecoder(decoder)
        # SAM 2 takes both from its neck, which gives all levels one width.
        self.mask_decoder.conv_s0 = nn.Conv2d(fine, hidden // 8, kernel_size=3, padding=1)
        self.mask_decoder.conv_s1 = nn.Conv2d(middle, hidden // 4, kernel_size=3, padding=1)
        self.box_gain = nn.Parameter(torch.ones(1))
        self.post_init()  # type: ignore[no-untyped-call]

    def levels(self, sight: Sight) -> tuple[Tensor, ...]:
        """What the decoder sees of N images: (N, hidden/8, S/4, S/4), (N, hidden/4, S/8, S/8), (N, hidden, ...)."""
        neck, decoder = self.neck, self.mask_decoder
        fine, middle = neck["fine_norm"](sight.fine), neck["middle_norm"](sight.middle)
        image = neck["fine"](fine) + neck["middle"](middle) + neck["coarse"](neck["coarse_norm"](sight.coarse))
        return decoder.conv_s0(fine), decoder.conv_s1(middle), neck["merge"](image)

    def draw(
        self,
        levels: tuple[Tensor, ...],
        *,
        boxes: Tensor | None = None,
        points: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> Drawn:
        """One mask for each of B prompts, B/N in a row about each of N images; nothing of one depends on another.

        Args:
            levels: of the images.
            boxes: (B, 4) float32, x0, y0, x1, y1 from 0 to 1 of the image's width and height.
            points: (B, 2) of one point on each target, in the same measure. It needs a box, a point or both.
            masks: (B, S/4, S/4) logits of earlier masks.
        """
        *details, image = levels
        count = len(image)
        # In half precision places would blur. (Where tensors have a size alone, there is no precision either.)
        with nullcontext() if image.is_meta else torch.autocast(image.device.type, enabled=False):
            sparse = self._sparse(boxes, points)
            sparse = sparse.view(count, -1, *sparse.shape[1:])
            position = self._positions(image)
        each = sparse.shape[1]
        filled = filling(around(boxes, points).to(image.device), 4 * image.shape[-1])
        dense = self.prompt_encoder.mask_embed((filled if masks is None else masks)[:, None])
        # The decoder adds one dense prompt to each image.
        image, position = (part.repeat_interleave(each, 0) for part in (image, position))
        details = [part.repeat_interleave(each, 0) for part in details]
        sparse = sparse.flatten(0, 1)[:, None]
        logits, ious, *_ = self.mask_decoder(
            image_embeddings=image,
            image_positional_embeddings=position,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
            high_resolution_features=details,
        )
        drawn = logits[:, :, 0].flatten(0, 1).float() + self.box_gain * filled
        return Drawn(drawn, ious[..., 0].flatten().float())

    def save_pretrained(self, *args: Any, **options: Any) -> None:
        """As every model of Transformers, but for the eye, whose weights another folder has."""
        state = without_eye(options.pop("state_dict", None) or self.state_dict())
        super().save_pretrained(*args, **{**options, "state_dict": state})

    def _sparse(self, boxes: Tensor | None, points: Tensor | None) -> Tensor:
        """Tokens (B, n, hidden) of prompts in shares of the image."""
        side = float(self.eye.side)
        found = on_one_image(boxes, points, (side, side), around(boxes, points))
        sparse, _ = self.prompt_encoder(
            found.get("input_points"), found.get("input_labels"), found.get("input_boxes"), None
        )
        return cast(Tensor, sparse)[0]

    def _positions(self, image: Tensor) -> Tensor:
        """Of the cells of (N, hidden, h, w), in the same shape."""
        height, width = image.shape[-2:]
        y = (torch.arange(height, device=image.device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=image.device, dtype=torch.float32) + 0.5) / width
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        encoded: Tensor = self.prompt_encoder.shared_embedding(torch.stack([grid_x, grid_y], dim=-1))
        return encoded.permute(2, 0, 1)[None].expand(len(image), -1, -1, -1)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Fresh weights: Xavier for projections, small tables, as of the models that eyes are taken from."""
        if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            init.xavier_uniform_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.02)
        elif isinstance(module, Sam2PositionalEmbedding):
            init.normal_(module.positional_embedding, std=module.scale)
        elif isinstance(module, CompactSamModel):
            init.ones_(module.box_gain)
            # At first a mask is what fills its box, and not the noise of fresh layers.
            for network in module.mask_decoder.output_hypernetworks_mlps:
                init.zeros_(cast(Any, network).proj_out.weight)


def around(boxes: Tensor | None, points: Tensor | None) -> Tensor:
    """The boxes (B, 4), or where there are none small ones around the points (B, 2).

    Raises:
        ValueError: there are neither.
    """
    if boxes is not None:
        return boxes
    if points is None:
        raise ValueError("a prompt is a box, a point, or both")
    return torch.cat([points - AROUND_POINT / 2, points + AROUND_POINT / 2], dim=1)


class CompactSam:
    """A `CompactSamModel` as a `PromptedSegmenter`. It computes in float32: prompts are coordinates.

    Args:
        model: on its device, in evaluation mode.
    """

    mask_threshold = 0.0

    def __init__(self, model: CompactSamModel) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path, *, device: torch.device) -> CompactSam:
        """Load it from its folder, and its eye from where that says.

        Raises:
            UserError: something is missing, damaged or does not fit.
        """
        model = load_network(CompactSamModel, folder, device=device, dtype=torch.float32)
        open_eye(model.eye, model.config.eye_model, model.config.eye_sha256, folder=folder)
        return cls(model)

    @property
    def network(self) -> nn.Module:
        """The model."""
        return self.model

    @property
    def mask_decoder(self) -> nn.Module:
        """SAM 2's part of it."""
        return self.model.mask_decoder

    def see(self, image: NDArray[np.uint8]) -> Seen:
        """At the eye's side, in a square that does not keep the aspect ratio."""
        return Seen(self.model.levels(self.model.eye.see(image)))

    def segment(self, seen: Seen, boxes: Tensor, points: Tensor | None = None) -> Tensor:
        """See `PromptedSegmenter.segment`."""
        device = self.model.device
        prompts: Mapping[str, Tensor | None] = {
            "boxes": boxes.to(device),
            "points": None if points is None else points.to(device),
        }
        return self.model.draw(seen.levels, **prompts).logits
