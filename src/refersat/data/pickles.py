"""Reads pickles of plain data; anything that would run code is refused."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

from refersat.errors import UserError


def load_plain(content: bytes, path: Path) -> Any:
    """The dicts, lists, tuples, sets, texts, bytes, numbers and truth values of a pickle; `path` is for messages.

    Whatever a pickle does beyond these, it does by naming a class or a function. No name is looked up here, so nothing
    of the pickle's choice is imported, made or called.

    Raises:
        UserError: it names one, or is no pickle.
    """
    # Python 2 wrote texts as bytes; a stray one must not hide the rest of the file.
    reader = _PlainUnpickler(io.BytesIO(content), encoding="utf-8", errors="replace")
    try:
        return reader.load()
    except _RefusedNameError as refused:
        raise UserError(
            f"{path} is not read: a list of references holds plain data, but this pickle calls for {refused}, which "
            "could run anything; get the file from its authors again"
        ) from None
    except Exception as error:  # a broken pickle raises nearly anything
        raise UserError(f"{path} is no pickle, or is damaged ({error}); download it again") from None


class _RefusedNameError(Exception):
    """The name that a pickle asked for."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        raise _RefusedNameError(f"{module_name}.{global_name}")

    def persistent_load(self, _: Any, /) -> Any:
        raise _RefusedNameError("an object outside of it")
