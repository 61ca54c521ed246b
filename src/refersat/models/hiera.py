"""SAM 2's Hiera trunk with a fusion layer and an adapter in every block.

Attention, feed-forward, patch embedding and windows are those of `transformers`; this file adds the
text stream (RS2-SAM 2, arXiv 2503.07266, figure 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Sam2HieraDetConfig
from transformers.models.sam2.modeling_sam2 import (
    Sam2LayerNorm,
    Sam2MultiScaleBlock,
    Sam2PatchEmbeddings,
    do_pool,
    window_partition,
    window_unpartition,
)

from refersat.models.convolutions import ResidualConvolutions
from refersat.models.fusion import ADAPTER_SCALE, Adapter, BlockFusion, BlockFusionKind

StemKind = Literal["patch", "convolutional"]
"""How pixels become stride-4 tokens: SAM 2's single 7x7 convolution, or a small stack of 3x3 ones."""


class ConvolutionalStem(nn.Module):
    """3x3 convolutions to stride 4: learns from few images where a single large patch kernel does not.

    Source: Xiao et al., "Early convolutions help transformers see better" (NeurIPS 2021). Not part of SAM 2;
    used by models trained from scratch.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.layers = nn.Sequential(
            nn.Conv2d(3, half, kernel_size=3, stride=2, padding=1),
            ResidualConvolutions(half),
            Sam2LayerNorm(half, data_format="channels_first"),
            nn.GELU(),
            nn.Conv2d(half, width, kernel_size=3, stride=2, padding=1),
            ResidualConvolutions(width),
            ResidualConvolutions(width),
        )

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, S/4, S/4, C)."""
        return cast(Tensor, self.layers(pixel_values)).permute(0, 2, 3, 1)


class FusedBlock(Sam2MultiScaleBlock):
    """A Hiera block whose attention output meets the phrase before it is added back.

    Unlike its parent's, its `forward` takes and returns the text stream as well.
    """

    def __init__(
        self,
        config: Sam2HieraDetConfig,
        *,
        stage: int,
        block: int,
        index: int,
        text_width: int,
        fusion: BlockFusionKind,
        adapter: bool,
        convolutions: int,
    ) -> None:
        super().__init__(config, stage_idx=stage, block_idx=block, total_block_idx=index)
        self.fusion = BlockFusion(self.dim_out, text_width, fusion) if fusion != "none" else None
        self.adapter = Adapter(self.dim_out) if adapter else None
        self.convolutions = nn.Sequential(*(ResidualConvolutions(self.dim_out) for _ in range(convolutions)))

    def forward(  # type: ignore[override]
        self, features: Tensor, text: Tensor | None, text_padding: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Features (B, H, W, C), text (B, L, T) or None -> features of the next block's size, text (B, L, T)."""
        normed = self.layer_norm1(features)
        stride = 1 if self.query_stride is None else cast(list[int], self.query_stride)[0]
        shortcut = features if self.dim == self.dim_out else do_pool(self.proj(normed), stride)
        height, width = shortcut.shape[1:3]
        if self.window_size > 0:
            windows, (padded_height, padded_width) = window_partition(normed, self.window_size)
            padded = (padded_height // stride, padded_width // stride)
            attended = window_unpartition(self.attn(windows), self.window_size // stride, padded, (height, width))
        else:
            attended = self.attn(normed)
        if self.fusion is not None:
            attended, text = self.fusion(attended, text, text_padding)
        features = shortcut + attended
        normed = self.layer_norm2(features)
        updated = features + self.mlp(normed)
        if self.adapter is not None:
            updated = updated + ADAPTER_SCALE * self.adapter(normed)
        if len(self.convolutions):
            updated = self.convolutions(updated.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return updated, text


@dataclass(frozen=True)
class ImageState:
    """What the trunk makes of N images before it hears any phrase.

    Attributes:
        features: (N, H, W, C), the input of the first block with a fusion layer.
        maps: of the stages that end before that block.
    """

    features: Tensor
    maps: tuple[Tensor, ...]


class FusedHiera(nn.Module):
    """The trunk: pixels and phrase in, one feature map per stage out.

    `look` runs the blocks that know nothing of the phrase, `forward` the rest.
    """

    def __init__(
        self,
        config: Sam2HieraDetConfig,
        *,
        text_width: int,
        fusion: BlockFusionKind,
        fusion_from: int,
        adapter: bool,
        stem: StemKind,
        convolutions: Sequence[int],
    ) -> None:
        super().__init__()
        width = config.hidden_size
        depths, windows = cast(list[int], config.blocks_per_stage), cast(list[int], config.window_size_per_stage)
        embedding_widths = cast(list[int], config.embed_dim_per_stage)
        background = cast(list[int], config.window_positional_embedding_background_size)
        self.patch_embed = Sam2PatchEmbeddings(config) if stem == "patch" else ConvolutionalStem(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, width, *background))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, width, windows[0], windows[0]))
        stages = [(stage, block) for stage, depth in enumerate(depths) for block in range(depth)]
        self.blocks = nn.ModuleList(
            FusedBlock(
                config,
                stage=stage,
                block=block,
                index=index,
                text_width=text_width,
                fusion=fusion if index >= fusion_from else "none",
                adapter=adapter,
                convolutions=convolutions[stage],
            )
            for index, (stage, block) in enumerate(stages)
        )
        self.stage_ends = frozenset(sum(depths[: stage + 1]) - 1 for stage in range(4))
        self.first_listener = fusion_from if fusion in ("uni", "bi") else len(stages)
        ends = [stage for stage in range(4) if sum(depths[: stage + 1]) <= self.first_listener]
        entering = stages[min(max(self.first_listener - 1, 0), len(stages) - 1)][0]
        self.image_map_widths = [embedding_widths[stage] for stage in (*ends, entering)]

    def look(self, pixel_values: Tensor) -> ImageState:
        """Run the blocks before the first one that hears the phrase: (N, 3, S, S), S a multiple of 32."""
        features = self.patch_embed(pixel_values)
        features = features + self._positions(features.shape[1], features.shape[2])
        maps = []
        for index, block in enumerate(self.blocks[: self.first_listener]):
            features, _ = block(features, None, None)
            if index in self.stage_ends:
                maps.append(features)
        return ImageState(features, tuple(maps))

    def forward(
        self, state: ImageState, text: Tensor | None, text_padding: Tensor | None, marks: Tensor | None = None
    ) -> tuple[tuple[Tensor, ...], Tensor | None]:
        """Run the blocks from the first one that hears the phrase.

        Args:
            state: of N images.
            text: (B, L, T) projected phrases, B/N in a row about each image; None runs the blocks without any.
            text_padding: (B, L) bool, True = padding; None when nothing is padded.
            marks: (B, H, W, C) added to what the first of these blocks sees; needs `text`.

        Returns:
            Feature maps (B, S/4, S/4, C), (B, S/8, S/8, 2C), ... of the four stages, N instead of B where a stage ends
            before the phrase is heard, and the text stream (B, L, T).
        """
        features, maps = state.features, list(state.maps)
        if text is not None and self.first_listener < len(self.blocks):
            features = per_phrase(features, text.shape[0])
            if marks is not None:
                features = features + marks
        for index, block in enumerate(self.blocks[self.first_listener :], start=self.first_listener):
            features, text = block(features, text, text_padding)
            if index in self.stage_ends:
                maps.append(features)
        return tuple(maps), text

    def _positions(self, height: int, width: int) -> Tensor:
        return resized_positions(self.pos_embed, self.pos_embed_window, height, width)


def resized_positions(everywhere: Tensor, in_window: Tensor, height: int, width: int) -> Tensor:
    """Absolute position (1, H, W, C): a coarse learned map, resized, plus one tile per attention window."""
    coarse = F.interpolate(everywhere, size=(height, width), mode="bicubic")
    window = in_window.shape[-1]
    repeats = (1, 1, -(-height // window), -(-width // window))
    tiles = in_window.tile(repeats)[..., :height, :width]
    return (coarse + tiles).permute(0, 2, 3, 1)


def per_phrase(features: Tensor, phrases: int) -> Tensor:
    """Features (N, ...) of images -> (B, ...), each repeated for its B/N phrases; as they are where N = B."""
    return features if features.shape[0] == phrases else features.repeat_interleave(phrases // features.shape[0], 0)
