"""Python's search for garbage, paused while a command loads what it needs."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def uncollected() -> Iterator[None]:
    """Look for no cycles that nobody refers to; as before afterwards, but never among what there is by then.

    Thousands of modules come in with PyTorch and Transformers, and stay. To look through them again and again for
    garbage takes a tenth of the time of their import, and a second when the process ends.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_on:
            gc.enable()
