"""The language-query grounder, ready to run: a model with its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from refersat.errors import UserError
from refersat.models.answering import TOGETHER
from refersat.models.eye import open_eye
from refersat.models.folder import CONFIG_FILE, read_description
from refersat.models.grounding.boxes import overlaps, to_corners
from refersat.models.grounding.configuration import GroundingConfig
from refersat.models.grounding.grounder import Grounded
from refersat.models.grounding.letterbox import letterbox
from refersat.models.grounding.model import GroundingModel, GroundingOutput
from refersat.models.peers.pretrained import load_network
from refersat.text.phrases import Tokenizer
from refersat.text.roberta import RobertaTokenizer
from refersat.text.tokenizer import PhraseTokenizer

SAME_OBJECT = 0.6
"""Two boxes of parts that overlap by more (IoU) are of one object."""


class LanguageQueryGrounder:
    """A `GroundingModel` as a `Grounder`: the box of the best query, with its score.

    Args:
        model: on its device, in evaluation mode.
        tokenizer: of its phrases.
    """

    def __init__(self, model: GroundingModel, tokenizer: Tokenizer) -> None:
        self.model = model
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, folder: Path, *, device: torch.device) -> LanguageQueryGrounder:
        """Load it from its folder, in float32: boxes are coordinates.

        Raises:
            UserError: something in the folder is missing, damaged or does not fit.
        """
        kind = read_description(folder).get("model_type")
        if kind != GroundingConfig.model_type:
            raise UserError(f"{folder / CONFIG_FILE} says model_type {kind}, not {GroundingConfig.model_type}")
        model = load_network(GroundingModel, folder, device=device, dtype=torch.float32)
        if model.config.image_network == "eye":
            open_eye(model.eye, model.config.eye_model, model.config.eye_sha256, folder=folder)
        tokenizer = read_tokenizer(folder, model.config)
        if tokenizer.vocab_size > model.config.vocab_size:
            raise UserError(
                f"the tokenizer of {folder} has {tokenizer.vocab_size} tokens, more than the model's "
                f"{model.config.vocab_size}: it belongs to another model"
            )
        return cls(model, tokenizer)

    @property
    def parameters(self) -> int:
        """Number of its parameters."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @torch.inference_mode()
    def ground(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> Grounded:
        """The image is seen once, whatever the number of phrases; see `Grounder.ground`."""
        device = self.model.device
        if self.model.config.image_network == "eye":
            maps, valid = self.model.eye.see(image).maps, torch.ones(1, 2, device=device)
        else:
            pixel_values, valid = (each.to(device) for each in letterbox([image], self.model.config.image_size))
            maps = self.model.look(pixel_values)
        boxes, scores = [], []
        parts: list[Tensor] = []
        for start in range(0, len(phrases), TOGETHER):
            input_ids, attention_mask = self._tokenizer(phrases[start : start + TOGETHER])
            output = self.model.ground(maps, valid, input_ids.to(device), attention_mask.to(device))
            assert output.boxes is not None and output.scores is not None
            boxes.append(output.boxes)
            scores.append(output.scores)
            parts += _parts(output)
        several = self.model.config.answer == "hull"
        return Grounded(torch.cat(boxes).cpu(), torch.cat(scores).cpu(), tuple(parts) if several else None)


def _parts(output: GroundingOutput) -> list[Tensor]:
    """For each phrase the boxes (T, 4) of its parts on the CPU, the surest first, without those that are one object."""
    assert output.parts is not None and output.query_logits is not None and output.query_boxes is not None
    found = []
    corners = to_corners(output.query_boxes[-1]).clamp(0, 1).float().cpu()
    for mine, logits, boxes in zip(output.parts.cpu(), output.query_logits[-1].float().cpu(), corners, strict=True):
        order = logits.masked_fill(~mine, float("-inf")).argsort(descending=True)[: int(mine.sum())]
        kept: list[Tensor] = []
        for box in boxes[order]:
            if all(float(overlaps(box, other)[0]) < SAME_OBJECT for other in kept):
                kept.append(box)
        found.append(torch.stack(kept))
    return found


def read_tokenizer(folder: Path, config: GroundingConfig) -> Tokenizer:
    """The tokenizer of a grounder's folder.

    Raises:
        UserError: it is missing or damaged.
    """
    if config.text_network == "roberta":
        return RobertaTokenizer(folder, max_length=config.max_text_length)
    return PhraseTokenizer.from_folder(folder, config.max_text_length)
