"""Phrases to token ids: SentencePiece pieces in the id convention of XLM-R, as BEiT-3 uses them.

XLM-R (fairseq) shifts every SentencePiece id by one and puts its own special tokens first: ``<s>`` 0, ``<pad>`` 1,
``</s>`` 2, ``<unk>`` 3. Like the released tokenizer we pad with 3, not with 1; the union encoder masks id 3 by itself,
and the attention mask given here tells padding from real unknown pieces.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from refersat.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sentencepiece import SentencePieceProcessor
    from torch import Tensor

TOKENIZER_FILE = "sentencepiece.bpe.model"
BEGIN_ID = 0
END_ID = 2
UNKNOWN_ID = 3
PAD_ID = UNKNOWN_ID

_SENTENCEPIECE_UNKNOWN = 0
_OFFSET = 1


class PhraseTokenizer:
    """Token ids of phrases, from a SentencePiece model file.

    Args:
        model_file: a SentencePiece model whose first three pieces are ``<unk>``, ``<s>``, ``</s>`` (the usual ones).
        max_length: the most tokens of one phrase, begin and end included; a longer one is cut before the end token.

    Raises:
        UserError: the file is missing or is not such a model.
    """

    def __init__(self, model_file: str | Path, *, max_length: int = 64) -> None:
        if max_length < 2:
            raise UserError(f"max_length must leave room for the begin and end tokens: at least 2, not {max_length}")
        # The bytes are kept so that `save` writes exactly the file that was read, also when that file is gone by then.
        self._model_bytes = _read(Path(model_file))
        self._processor = _processor(self._model_bytes, Path(model_file))
        self.max_length = max_length

    @classmethod
    def from_folder(cls, folder: str | Path, max_length: int = 64) -> PhraseTokenizer:
        """The tokenizer of a model folder: its ``sentencepiece.bpe.model``."""
        return cls(Path(folder) / TOKENIZER_FILE, max_length=max_length)

    @property
    def vocab_size(self) -> int:
        """Rows an embedding table needs: the largest id plus one (XLM-R's ``<mask>`` on top is never used here)."""
        return int(self._processor.get_piece_size()) + _OFFSET

    def encode(self, phrase: str) -> list[int]:
        """Ids of one phrase, ``[0, ..., 2]``: at least 2 and at most ``max_length`` of them."""
        pieces = self._processor.encode(phrase, out_type=int)
        ids = [UNKNOWN_ID if piece == _SENTENCEPIECE_UNKNOWN else piece + _OFFSET for piece in pieces]
        return [BEGIN_ID, *ids[: self.max_length - 2], END_ID]

    def __call__(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """`arrays`, as tensors."""
        import torch

        input_ids, attention_mask = self.arrays(phrases)
        return torch.from_numpy(input_ids), torch.from_numpy(attention_mask)

    def arrays(self, phrases: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Ids of a batch of B phrases, padded to the longest, L tokens.

        Returns:
            input_ids (B, L) int64, padded with 3, and attention_mask (B, L) bool, True where a token is real (unknown
            or not).
        """
        import numpy as np

        if isinstance(phrases, str):
            raise TypeError("give a sequence of phrases, not a single string")
        rows = [self.encode(phrase) for phrase in phrases]
        length = max((len(row) for row in rows), default=0)
        input_ids = np.full((len(rows), length), PAD_ID, dtype=np.int64)
        attention_mask = np.zeros((len(rows), length), dtype=np.bool_)
        for index, row in enumerate(rows):
            input_ids[index, : len(row)] = row
            attention_mask[index, : len(row)] = True
        return input_ids, attention_mask

    def save(self, folder: str | Path) -> None:
        """Write ``sentencepiece.bpe.model`` into the folder, which is made if missing; an older one is replaced."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{TOKENIZER_FILE}.{os.getpid()}"
        temporary.write_bytes(self._model_bytes)
        temporary.replace(folder / TOKENIZER_FILE)


def train_tokenizer(
    sentences: Iterable[str], folder: str | Path, vocab_size: int, *, max_length: int = 64
) -> PhraseTokenizer:
    """Train a small unigram model on sentences and write it to ``folder/sentencepiece.bpe.model``.

    Text is case-folded (NFKC), every character of the sentences gets a piece, and ``vocab_size`` is an upper bound: a
    small corpus gives a smaller vocabulary. The same sentences give the same file.

    Raises:
        UserError: no sentence has any text, or the bound leaves no room for the characters of the corpus.
    """
    import sentencepiece

    kept = [sentence for sentence in sentences if sentence.strip()]
    if not kept:
        raise UserError("no sentences to train a tokenizer on")
    stream = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(kept),
            model_writer=stream,
            model_type="unigram",
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="nmt_nfkc_cf",
            byte_fallback=False,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"cannot train a tokenizer of {vocab_size} pieces on {len(kept)} sentences: {reason}"
        ) from error
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TOKENIZER_FILE).write_bytes(stream.getvalue())
    return PhraseTokenizer.from_folder(folder, max_length)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the tokenizer {path}: {error.strerror or error}") from error


def _processor(model_bytes: bytes, path: Path) -> SentencePieceProcessor:
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
        heads = [processor.unk_id(), processor.bos_id(), processor.eos_id()]
    except (RuntimeError, TypeError) as error:
        raise UserError(f"{path} is not a SentencePiece model: fetch or convert the model again") from error
    if heads != [0, 1, 2]:
        raise UserError(f"{path} does not start with <unk>, <s>, </s>, so its ids cannot be mapped to those of XLM-R")
    return processor
