"""A Hiera block for a CPU: the same function as `FusedBlock`, in fewer passes over memory."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from refersat.models.fusion import ADAPTER_SCALE
from refersat.models.hiera import FusedBlock
from refersat.models.optimized.attention import padded, pooled, window_attention
from refersat.models.optimized.bands import in_bands
from refersat.models.optimized.fusion import FoldedFusion
from refersat.models.optimized.packed import PackedLinear, side_by_side, summed


class FastBlock(nn.Module):
    """`FusedBlock.forward` with packed weights.

    Adapter and feed-forward network read the same features and are added to the same ones: joined, they are one
    network of two layers.
    """

    def __init__(self, block: FusedBlock) -> None:
        super().__init__()
        self.layer_norm1, self.layer_norm2 = block.layer_norm1, block.layer_norm2
        self.window = block.window_size
        self.stride = 1 if block.query_stride is None else cast(list[int], block.query_stride)[0]
        self.heads = block.attn.num_attention_heads
        self.query_key_value = PackedLinear.of(block.attn.qkv)
        self.output = PackedLinear.of(block.attn.proj)
        self.shortcut = PackedLinear.of(block.proj) if block.dim != block.dim_out else None
        self.fusion = FoldedFusion(block.fusion) if block.fusion is not None else None
        if block.adapter is None:
            self.widen = PackedLinear.of(block.mlp.proj_in, gelu=True)
            self.narrow = PackedLinear.of(block.mlp.proj_out)
        else:
            self.widen = side_by_side([block.mlp.proj_in, block.adapter.down], gelu=True)
            self.narrow = summed([block.mlp.proj_out, block.adapter.up], [1, ADAPTER_SCALE])
        self.convolutions = block.convolutions

    def forward(
        self, features: Tensor, text: Tensor | None, text_padding: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """See `FusedBlock.forward`."""
        features, text = self._attended(features, text, text_padding)
        size = self.widen.width * features.element_size()
        updated = in_bands(self._fed_forward, features.flatten(0, 2), 0, unit=1, size=size).view(features.shape)
        if len(self.convolutions):
            updated = self.convolutions(updated.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return updated, text

    def _attended(
        self, features: Tensor, text: Tensor | None, text_padding: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The features after attention and fusion, and the text stream."""
        normed = self.layer_norm1(features)
        shortcut = features if self.shortcut is None else pooled(self.shortcut(normed), self.stride)
        height, width = shortcut.shape[1:3]
        mixed = window_attention(
            padded(normed, self.window), self.query_key_value, heads=self.heads, window=self.window, stride=self.stride
        )
        del normed  # the next layers need room
        if mixed.shape[1:3] != (height, width):
            mixed = mixed[:, :height, :width].contiguous()
        if self.fusion is not None:
            features, text = self.fusion(self.output(mixed), shortcut, text, text_padding)
        else:
            features = self.output(mixed, residual=shortcut)
        return features, text

    def _fed_forward(self, features: Tensor) -> Tensor:
        """(N, C) -> (N, C), of each by itself."""
        return cast(Tensor, self.narrow(self.widen(self.layer_norm2(features)), residual=features))
