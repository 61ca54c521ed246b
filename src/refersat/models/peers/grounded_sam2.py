"""Grounding DINO + SAM 2: the phrase finds boxes, the best box gives the mask.

Grounding DINO (Liu et al., arXiv 2303.05499) scores its boxes against every word of the phrase; a box's score is that
of its best word, as in Transformers' own processor. SAM 2 (Ravi et al., arXiv 2408.00714) segments what is in the box.

One phrase, one box: the mask is that of the box with the highest score, never the union of several. A phrase that
names a group gets one of its members; but the other boxes of a phrase about one thing, which are mostly the things that
it is told apart from ("left of the ..."), do not end up in the mask.
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
from refersat.models.answering import Answer
from refersat.models.peers.preparation import Preparation
from refersat.models.peers.pretrained import load_network, load_tokenizer
from refersat.models.prompted.sam2 import Sam2

BOX_THRESHOLD = 0.25
"""The target is there when the best box's score is above: the threshold of Transformers' own processor."""


class GroundedSam2:
    """Grounding DINO and SAM 2 together as an `Answerer`. The score is the best box's.

    Both compute in float32 always: boxes are coordinates, and half precision would move them by pixels.
    """

    mask_threshold = 0.0
    phrases_at_once = 4  # each takes the detector hundreds of megabytes at the released size
    dtype = torch.float32

    def __init__(self, detector: PhraseDetector, masks: Sam2) -> None:
        self._detector = detector
        self._masks = masks

    @classmethod
    def load(cls, detector: Path, masks: Path, *, device: torch.device) -> GroundedSam2:
        """Load the two from their folders of Transformers.

        Raises:
            UserError: something in a folder is damaged or does not fit.
        """
        return cls(PhraseDetector.load(detector, device=device), Sam2.load(masks, device=device))

    @property
    def parameters(self) -> int:
        """Number of parameters of both."""
        networks = (self._detector.model, self._masks.model)
        return sum(parameter.numel() for network in networks for parameter in network.parameters())

    def probability(self, logits: Tensor) -> Tensor:
        """A plain sigmoid."""
        return logits.float().sigmoid()

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Answer]:
        """Image by image, each seen once by both for all its phrases; see `Answerer.answer`."""
        answers = []
        for image, asked in zip(images, phrases, strict=True):
            boxes, scores = self._detector(image, asked)
            masks = self._masks.segment(self._masks.see(image), boxes)
            answers += [
                Answer(mask[None].cpu(), present=score > BOX_THRESHOLD, score=score)
                for mask, score in zip(masks, scores.tolist(), strict=True)
            ]
        return answers


class PhraseDetector:
    """Grounding DINO: phrases to one box each.

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
    def load(cls, folder: Path, *, device: torch.device) -> PhraseDetector:
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

    def __call__(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """The best box of each of B phrases, (B, 4) as x0, y0, x1, y1 from 0 to 1, and its score (B,)."""
        device = self.model.device
        pixels = self._preparation.to_fit(image).to(device)
        input_ids, attention_mask = self._ids(phrases)
        output = self.model(
            pixel_values=pixels.expand(len(phrases), -1, -1, -1),
            input_ids=input_ids.to(device),
            attention_mask=attention_mask.to(device),
        )
        scores, best = output.logits.sigmoid().amax(-1).max(-1)
        centre, size = output.pred_boxes[torch.arange(len(phrases), device=device), best].chunk(2, dim=-1)
        return torch.cat([centre - size / 2, centre + size / 2], dim=-1).clamp(0, 1), scores

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
