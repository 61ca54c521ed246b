"""What turns phrases into token ids: our tokenizer, or that which a pretrained text network comes with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Tokenizer(Protocol):
    """Phrases in, token ids out."""

    @property
    def vocab_size(self) -> int:
        """Rows an embedding table needs: the largest id plus one."""

    def __call__(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """B phrases -> ids (B, L) int64, padded to the longest, and mask (B, L) bool, True where a token is real."""

    def save(self, folder: str | Path) -> None:
        """Write its files into the folder, which is made if missing."""
