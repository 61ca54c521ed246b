"""A tiny model of ours with an eye, in a folder, for networks that see with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from refersat.models.rs2sam2 import RS2Sam2Config, RS2Sam2Model
from tests.models.tiny_rs2sam2 import CONFIGURATIONS, TINY
from tests.models.tiny_sam import save_stirred


def eye_model_config(**changes: Any) -> RS2Sam2Config:
    """Hears phrases from the second block of its third stage on."""
    return RS2Sam2Config(**{**TINY, **CONFIGURATIONS["built-in"], **changes})


def save_eye_model(folder: Path, tokenizer: Path, **changes: Any) -> Path:
    """It has learned nothing, but its objects differ."""
    torch.manual_seed(0)
    save_stirred(RS2Sam2Model(eye_model_config(**changes)), folder)
    (folder / "sentencepiece.bpe.model").write_bytes(tokenizer.read_bytes())
    return folder
