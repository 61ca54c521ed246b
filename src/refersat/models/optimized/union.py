"""The union encoder's layers for a CPU, with packed weights."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from refersat.models.beit3 import SubNormFeedForward, UnionEncoderLayer
from refersat.models.optimized.packed import PackedLinear, side_by_side


class FastFeedForward(nn.Module):
    """`SubNormFeedForward` plus the residual."""

    def __init__(self, layer: SubNormFeedForward) -> None:
        super().__init__()
        self.proj_in = PackedLinear.of(layer.proj_in, gelu=True)
        self.norm = layer.norm
        self.proj_out = PackedLinear.of(layer.proj_out)

    def forward(self, tokens: Tensor, residual: Tensor) -> Tensor:
        """Both (B, N, C) -> (B, N, C)."""
        return cast(Tensor, self.proj_out(self.norm(self.proj_in(tokens)), residual=residual))


class FastWay(nn.Module):
    """What one `UnionEncoderLayer` does to the tokens of one kind, visual or text, outside of their attention."""

    def __init__(self, layer: UnionEncoderLayer, kind: str) -> None:
        super().__init__()
        attention = layer.attention

        def own(part: nn.Module) -> nn.Module:
            return cast(nn.Module, getattr(part, kind))

        self.attention_norm = own(layer.attention_norm)
        projections = [own(part) for part in (attention.query, attention.key, attention.value)]
        self.query_key_value = side_by_side(cast(list[nn.Linear], projections))
        self.inner_norm = own(attention.inner_norm)
        self.output = PackedLinear.of(cast(nn.Linear, own(attention.output)))
        self.feed_forward_norm = own(layer.feed_forward_norm)
        self.feed_forward = FastFeedForward(cast(SubNormFeedForward, own(layer.feed_forward)))

    def ask(self, tokens: Tensor) -> Tensor:
        """(B, N, C) -> queries, keys and values (B, N, 3 C)."""
        return cast(Tensor, self.query_key_value(self.attention_norm(tokens)))

    def answer(self, mixed: Tensor, tokens: Tensor) -> Tensor:
        """What attention made of the tokens, and the tokens, (B, N, C) both -> (B, N, C)."""
        tokens = self.output(self.inner_norm(mixed), residual=tokens)
        return cast(Tensor, self.feed_forward(self.feed_forward_norm(tokens), tokens))


class FastUnionLayer(nn.Module):
    """`UnionEncoderLayer.forward` with packed weights."""

    def __init__(self, layer: UnionEncoderLayer) -> None:
        super().__init__()
        self.heads = layer.attention.heads
        self.visual, self.text = FastWay(layer, "visual"), FastWay(layer, "text")

    def forward(self, tokens: Tensor, split: int, visible: Tensor) -> Tensor:
        """See `UnionEncoderLayer.forward`."""
        visual, text = tokens[:, :split].contiguous(), tokens[:, split:].contiguous()
        joint = torch.cat([self.visual.ask(visual), self.text.ask(text)], dim=1)
        query, key, value = joint.view(*joint.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=visible).transpose(1, 2).flatten(2)
        visual = self.visual.answer(mixed[:, :split].contiguous(), visual)
        text = self.text.answer(mixed[:, split:].contiguous(), text)
        return torch.cat([visual, text], dim=1)
