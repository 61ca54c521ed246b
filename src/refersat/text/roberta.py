"""RoBERTa's own tokenizer, by Transformers, with the interface of ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

ROBERTA_FILES = (("tokenizer.json",), ("vocab.json", "merges.txt"))
"""A folder holds one of these sets."""


class RobertaTokenizer:
    """Token ids of phrases, lower-cased, as RoBERTa numbers them: 0 begin, 2 end, 1 padding.

    Args:
        folder: with tokenizer.json, or vocab.json and merges.txt.
        max_length: the most tokens of one phrase, begin and end included.

    Raises:
        UserError: the folder holds no such tokenizer, or a damaged one.
    """

    def __init__(self, folder: str | Path, *, max_length: int = 64) -> None:
        from transformers import RobertaTokenizer as Theirs

        folder = Path(folder)
        if not any(all((folder / name).is_file() for name in names) for names in ROBERTA_FILES):
            raise UserError(
                f"{folder} lacks RoBERTa's tokenizer: copy tokenizer.json there, or vocab.json and merges.txt"
            )
        try:
            self._tokenizer: Any = Theirs.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # what Transformers raises for damaged files shares no other base
            raise UserError(f"the tokenizer in {folder} cannot be read: {' '.join(str(error).split())}") from error
        self.max_length = max_length

    @property
    def vocab_size(self) -> int:
        """Rows an embedding table needs."""
        return len(self._tokenizer)

    def __call__(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """See `Tokenizer.__call__`."""
        encoded = self._tokenizer(
            [phrase.lower() for phrase in phrases],
            padding=True,
            truncation=True,
            max_length=self.max_length,
            return_tensors="pt",
        )
        return encoded["input_ids"], encoded["attention_mask"].bool()

    def save(self, folder: str | Path) -> None:
        """Write tokenizer.json and what belongs to it into the folder, which is made if missing."""
        self._tokenizer.save_pretrained(folder)
