"""Networks and tokenizers of Transformers from a folder: offline, without pickles, foreign code or idle talk."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel
from transformers.utils import logging

from refersat.errors import UserError
from refersat.models.official import few

Network = TypeVar("Network", bound=PreTrainedModel)


def load_network(kind: type[Network], folder: Path, *, device: torch.device, dtype: torch.dtype) -> Network:
    """The network in a folder, in evaluation mode.

    Raises:
        UserError: its weights or their description do not fit each other, or this version of Transformers.
    """
    with _quietly():
        try:
            loaded: Any = kind.from_pretrained(
                folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
        except MemoryError:
            raise
        except Exception as error:  # what Transformers raises for a bad folder shares no other base
            raise _not_loadable(folder, error) from error
    network: Network = loaded[0]
    missing = sorted(loaded[1]["missing_keys"])
    if missing:
        raise UserError(f"{folder}: {len(missing)} weights are missing: {few(missing)}")
    network.to(device).eval()  # type: ignore[arg-type]
    return network


def load_tokenizer(kind: type[Any], folder: Path) -> Any:
    """The tokenizer in a folder.

    Raises:
        UserError: its files are damaged.
    """
    with _quietly():
        try:
            return kind.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # as above
            raise _not_loadable(folder, error) from error


def _not_loadable(folder: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return UserError(f"{folder} cannot be loaded: {reason}")


@contextmanager
def _quietly() -> Iterator[None]:
    """Neither progress bars nor remarks of Transformers: commands own the terminal."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
