"""SAM 3: every instance of a concept that is named in words (Carion et al., arXiv 2511.16719).

The phrase is given as it was asked. What it names is the union of the instances whose score, times the presence head's,
is above 0.5, each where its up-sampled logit is above 0: the rules of the authors' own processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer, Sam3Model

from refersat.models.answering import Answer
from refersat.models.peers.preparation import Preparation
from refersat.models.peers.pretrained import load_network, load_tokenizer

INSTANCE_THRESHOLD = 0.5
"""An instance counts above this score."""


class Sam3:
    """SAM 3 as an `Answerer`. The score is the presence head's alone; the target is there when an instance counts.

    Args:
        model: on its device, in its number format, in evaluation mode.
        tokenizer: CLIP's.
        preparation: of its images.
    """

    mask_threshold = 0.0
    phrases_at_once = 4  # each takes hundreds of megabytes at the released size
    images_at_once = 1

    def __init__(self, model: Sam3Model, tokenizer: Any, preparation: Preparation) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._preparation = preparation
        config: Any = model.config
        self._side = int(config.vision_config.backbone_config.image_size)
        self._text_length = int(config.text_config.max_position_embeddings)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device, dtype: torch.dtype) -> Sam3:
        """Load it from a folder of Transformers.

        Raises:
            UserError: something in the folder is damaged or does not fit.
        """
        preparation = Preparation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)).read(folder)
        tokenizer = load_tokenizer(CLIPTokenizer, folder)
        return cls(load_network(Sam3Model, folder, device=device, dtype=dtype), tokenizer, preparation)

    @property
    def parameters(self) -> int:
        """Number of the model's parameters."""
        return sum(parameter.numel() for parameter in self._model.parameters())

    @property
    def dtype(self) -> torch.dtype:
        """The number format of its weights."""
        return self._model.dtype

    def probability(self, logits: Tensor) -> Tensor:
        """A plain sigmoid."""
        return logits.float().sigmoid()

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Answer]:
        """Image by image, each seen once for all its phrases; see `Answerer.answer`."""
        return [answer for image, asked in zip(images, phrases, strict=True) for answer in self._about(image, asked)]

    def _about(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> list[Answer]:
        device = self._model.device
        vision = self._model.get_vision_features(self._preparation.to_square(image, self._side).to(device, self.dtype))
        for name in ("fpn_hidden_states", "fpn_position_encoding"):
            levels = [level.expand(len(phrases), -1, -1, -1) for level in getattr(vision, name)]
            setattr(vision, name, tuple(levels))
        # Always the full length, so that a phrase is seen alike in every company.
        text = self._tokenizer(
            list(phrases), padding="max_length", max_length=self._text_length, truncation=True, return_tensors="pt"
        )
        output = self._model(
            vision_embeds=vision,
            input_ids=text["input_ids"].to(device),
            attention_mask=text["attention_mask"].to(device),
        )
        presence = output.presence_logits.float().sigmoid()  # (B, 1)
        scores = output.pred_logits.float().sigmoid() * presence  # (B, instances)
        each = zip(output.pred_masks.float(), scores, presence.flatten().tolist(), strict=True)
        return [_union(*one) for one in each]


def _union(masks: Tensor, scores: Tensor, presence: float) -> Answer:
    """Of instances (N, h, w) with scores (N,); the likeliest one gives the probabilities where none counts."""
    counts = scores > INSTANCE_THRESHOLD
    present = bool(counts.any())
    kept = masks[counts] if present else masks[scores.argmax()][None]
    return Answer(kept.cpu(), present=present, score=presence)
