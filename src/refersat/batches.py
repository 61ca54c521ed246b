"""Which questions run through a model together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from refersat.errors import UserError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Room:
    """How much one pass through a model takes.

    Attributes:
        questions: at most.
        images: at most, where several of them may only come with one question each; None where it does not matter which
            questions are about the same image.
    """

    questions: int
    images: int | None = None


def in_batches(items: Iterable[Item], room: Room, same_image: Callable[[Item, Item], bool]) -> Iterator[list[Item]]:
    """Questions in their order, in batches that fit; none is empty.

    A batch is given as soon as it is full, and before an error of the items, which then is raised.

    Args:
        items: the questions.
        room: for each batch.
        same_image: whether two questions are about the same image.
    """
    batch: list[Item] = []
    try:
        for item in items:
            apart = _cannot_wait(batch, item, room, same_image)
            if apart:
                yield batch[:apart]
                batch = batch[apart:]
            batch.append(item)
            if _is_full(batch, room, same_image):
                yield batch
                batch = []
    except UserError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _cannot_wait(batch: Sequence[Item], item: Item, room: Room, same_image: Callable[[Item, Item], bool]) -> int:
    """How many questions of a batch must go before the item is added."""
    if not batch or room.images is None:
        return 0
    each_alone = _each_alone(batch, same_image)
    if same_image(batch[-1], item):
        return len(batch) - 1 if each_alone else 0
    return 0 if each_alone and len(batch) < room.images else len(batch)


def _is_full(batch: Sequence[Item], room: Room, same_image: Callable[[Item, Item], bool]) -> bool:
    if room.images is not None and len(batch) > 1 and _each_alone(batch, same_image):
        return len(batch) >= min(room.images, room.questions)
    return len(batch) == room.questions


def _each_alone(batch: Sequence[Item], same_image: Callable[[Item, Item], bool]) -> bool:
    """Whether each question has an image of its own; else all have the same."""
    return len(batch) == 1 or not same_image(batch[0], batch[1])
