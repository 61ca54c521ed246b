"""Memory that PyTorch let go of, and that the C library keeps for later: given back to the system."""

from __future__ import annotations

import ctypes
import sys

LARGE_MODEL = 200_000_000
"""Parameters from which on a model's memory is worth some time: what an answer needs at once is gigabytes."""


def give_back() -> None:
    """Free pages between what is in use go back to the system; nothing happens where the C library is not glibc.

    Layers of many sizes one after the other leave holes that the next ones do not fit into.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
