"""The one progress bar: on stderr, with the time that is left."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.progress import Progress


@contextmanager
def progress(title: str, total: int, *, least: int = 0) -> Iterator[Callable[[], None]]:
    """Show a bar; call what it gives after each step. None is shown of fewer than `least` steps."""
    if total < least:
        yield lambda: None
        return
    with bar("{task.description}") as shown:
        task = shown.add_task(title, total=total)
        yield lambda: shown.advance(task)


def bar(before: str = "", after: str = "", *, disable: bool = False) -> Progress:
    """The bar itself: how far and how many, between texts with fields of the task; since when, and how long still."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        *([TextColumn(before, markup=False)] if before else []),
        BarColumn(),
        MofNCompleteColumn(),
        *([TextColumn(after, markup=False)] if after else []),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True), disable=disable)
