"""A network that is saved together with its tokenizer: Transformers alone would send a folder that nobody can run."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

TOKENIZER_FILES = (
    "sentencepiece.bpe.model",
    "beit3.spm",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)
"""Names of the files of our tokenizers; a folder holds some of them."""


class WithTokenizer(PreTrainedModel):
    """Takes the tokenizer along from the folder that `from_pretrained` read to where it is saved or pushed."""

    def save_pretrained(self, save_directory: str | os.PathLike[str], *args: Any, **options: Any) -> None:
        """As Transformers does it, and with the tokenizer; one that lies there already stays as it is."""
        super().save_pretrained(save_directory, *args, **options)
        source, target = Path(self.name_or_path or os.devnull), Path(save_directory)
        for name in TOKENIZER_FILES:
            if (source / name).is_file() and not (target / name).exists():
                shutil.copyfile(source / name, target / name)
