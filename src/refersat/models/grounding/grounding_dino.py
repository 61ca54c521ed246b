"""Grounding DINO: a detector that was made for everyday photographs finds boxes for phrases, without training.

Source: Liu et al., arXiv 2303.05499. It scores its boxes against every word of the phrase; a box's score is that of its
best word, as in Transformers' own processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import BertTokenizer, GroundingDinoForObjectDetection

from refersat.errors import UserError
from refersat.models.grounding.boxes import to_corners
from refersat.models.grounding.grounder import Grounded
from refersat.models.peers.preparation import Preparation
from refersat.models.peers.pretrained import load_network, load_tokenizer


class GroundingDino:
    """Grounding DINO as a `Grounder`: the best box of each phrase. It computes in float32 always.

    Args:
        model: on its device, in evaluation mode.
        tokenizer: BERT's.
        preparation: of its images.
    """

    def __init__(self, model: GroundingDinoForObjectDetection, tokenizer: Any, preparation: Preparation) -> None:
        self.model = model
        self._preparation = preparation
        self._tokenizer = tokenizer
        self._begin, self._end = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)
        self._stop = int(tokenizer.convert_tokens_to_ids("."))
        self._max_length = int(model.config.max_text_len)
        model.model.backbone.conv_encoder = _OncePerImage(model.model.backbone.conv_encoder)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device) -> GroundingDino:
        """Load it from a folder of Transformers.

        Raises:
            UserError: something in the folder is damaged or does not fit.
        """
        preparation = Preparation().read(folder)
        tokenizer = load_tokenizer(BertTokenizer, folder)
        model = load_network(GroundingDinoForObjectDetection, folder, device=device, dtype=torch.float32)
        known = model.model.special_tokens.tolist()
        if not {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.convert_tokens_to_ids(".")} <= set(known):
            raise UserError(f"the tokenizer of {folder} belongs to another model: its marks are not {known}")
        return cls(model, tokenizer, preparation)

    @property
    def parameters(self) -> int:
        """Number of its parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @torch.inference_mode()
    def ground(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> Grounded:
        """The best box of each phrase; the image passes once through the backbone. See `Grounder.ground`."""
        device = self.model.device
        pixels = self._preparation.to_fit(image).to(device)
        input_ids, attention_mask = self._ids(phrases)
        output = self.model(
            pixel_values=pixels.expand(len(phrases), -1, -1, -1),
            input_ids=input_ids.to(device),
            attention_mask=attention_mask.to(device),
        )
        scores, best = output.logits.sigmoid().amax(-1).max(-1)
        boxes = output.pred_boxes[torch.arange(len(phrases), device=device), best]
        return Grounded(to_corners(boxes).clamp(0, 1).cpu(), scores.cpu())

    def _ids(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids (B, L) and mask (B, L); a full stop ends each phrase, so none may be inside."""
        plain = [phrase.lower().replace(".", " ").replace("?", " ") for phrase in phrases]
        rows = [self._tokenizer(phrase, add_special_tokens=False)["input_ids"] for phrase in plain]
        rows = [[self._begin, *row[: self._max_length - 3], self._stop, self._end] for row in rows]
        ids = nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True)
        lengths = torch.tensor([len(row) for row in rows])
        return ids, (torch.arange(ids.shape[1]) < lengths[:, None]).long()


class _OncePerImage(nn.Module):
    """An image encoder that is handed the same image once for each phrase, and looks at it once."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, pixel_values: Tensor, pixel_mask: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Feature maps (B, C, h, w) with their masks (B, h, w), for B equal images (B, 3, H, W)."""
        count = len(pixel_values)
        features = self.encoder(pixel_values[:1], pixel_mask[:1])
        return [(level.expand(count, -1, -1, -1), mask.expand(count, -1, -1)) for level, mask in features]
