"""A PSLG-SAM with tiny random networks, in a folder; and stand-ins for the two networks that need no weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from refersat.models.grounding.grounder import Grounded
from refersat.models.grounding.model import GroundingModel
from refersat.models.prompted.segmenter import Seen
from refersat.models.pslg.folder import PslgDescription
from tests.models.tiny_grounder import tiny_grounder_config
from tests.models.tiny_sam import save_sam2, save_stirred


def save_grounder(folder: Path, tokenizer: Path, **changes: Any) -> Path:
    """A compact language-query grounder that has learned nothing."""
    torch.manual_seed(0)
    save_stirred(GroundingModel(tiny_grounder_config(**changes)), folder)
    (folder / "sentencepiece.bpe.model").write_bytes(tokenizer.read_bytes())
    return folder


def save_pslg(folder: Path, tokenizer: Path, **choices: Any) -> Path:
    """The two in one folder, with these choices in pslg.json."""
    save_grounder(folder / "grounder", tokenizer)
    save_sam2(folder / "sam")
    PslgDescription(**choices).save(folder)
    return folder


class BoxesByPhrase:
    """A grounder that knows by heart: phrase -> box in shares of the image, and score."""

    parameters = 7

    def __init__(self, known: Mapping[str, tuple[tuple[float, float, float, float], float]]) -> None:
        self.known = known
        self.asked: list[Sequence[str]] = []

    def ground(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> Grounded:
        self.asked.append(phrases)
        found = [self.known[phrase] for phrase in phrases]
        return Grounded(torch.tensor([box for box, _ in found]), torch.tensor([score for _, score in found]))


class BrightSam:
    """A SAM to which all is foreground that is bright and in the box, blunt by a few pixels; it counts what it sees."""

    mask_threshold = 0.0

    def __init__(self, cells: int = 32) -> None:
        self.network = nn.Linear(2, 3)
        self.mask_decoder = self.network
        self.cells = cells
        self.images: list[NDArray[np.uint8]] = []
        self.prompts: list[tuple[Tensor, Tensor | None]] = []

    def see(self, image: NDArray[np.uint8]) -> Seen:
        self.images.append(image)
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float().mean(1, keepdim=True)
        return Seen((nn.functional.interpolate(pixels, (self.cells, self.cells), mode="area"),))

    def segment(self, seen: Seen, boxes: Tensor, points: Tensor | None = None) -> Tensor:
        self.prompts.append((boxes, points))
        centres = (torch.arange(self.cells) + 0.5) / self.cells
        across = (centres > boxes[:, :1]) & (centres < boxes[:, 2:3])
        down = (centres > boxes[:, 1:2]) & (centres < boxes[:, 3:4])
        inside = down[:, :, None] & across[:, None, :]
        return torch.where(inside, (seen.levels[0][0] - 128) / 16, -8.0)
