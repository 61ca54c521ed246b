"""Reading ahead in a thread, while the model works."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")
_POLL = 0.1  # seconds after which the reading thread looks whether anybody still wants more


@contextmanager
def prefetched(items: Iterable[_T], ahead: int) -> Iterator[Iterator[_T]]:
    """The same items, made in a thread of their own, at most `ahead` of them in advance; its errors come through.

    Leaving the block ends the thread.
    """
    shelf: queue.Queue[tuple[_T | None, BaseException | None]] = queue.Queue(ahead)
    enough = threading.Event()

    def put(entry: tuple[_T | None, BaseException | None]) -> bool:
        while not enough.is_set():
            try:
                shelf.put(entry, timeout=_POLL)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    return
        except BaseException as error:  # told where it is waited for
            put((None, error))
        else:
            put((None, StopIteration()))

    def handed() -> Iterator[_T]:
        while True:
            item, error = shelf.get()
            if isinstance(error, StopIteration):
                return
            if error is not None:
                raise error
            yield item  # type: ignore[misc]

    thread = threading.Thread(target=read, name="refersat-read-ahead", daemon=True)
    thread.start()
    try:
        yield handed()
    finally:
        enough.set()
        thread.join()
