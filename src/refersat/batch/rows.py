"""What a catalogue asks: rows, and the units of work that they make together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from refersat.batch.addresses import stem_of
from refersat.errors import UserError
from refersat.question import check_phrase


@dataclass(frozen=True)
class Row:
    """One question of a catalogue.

    Attributes:
        number: its place in the catalogue, from 1.
        image: where the image lies; "" where the catalogue does not say.
        phrase: what to find.
        fault: why it cannot be asked, if so.
    """

    number: int
    image: str
    phrase: str
    fault: str | None = None


@dataclass(frozen=True)
class Unit:
    """One image with all that is asked about it: it is answered as a whole or not at all.

    Attributes:
        image: where it lies.
        phrases: what to find, each once.
    """

    image: str
    phrases: tuple[str, ...]

    @property
    def stem(self) -> str:
        """What its files are called after, as `refersat predict` does."""
        return stem_of(self.image)

    @property
    def name(self) -> str:
        """What its folder is called: the same in every run that asks the same about the same image."""
        known = hashlib.sha256(json.dumps([self.image, *self.phrases]).encode()).hexdigest()
        return f"{self.stem}-{known[:16]}"


@dataclass(frozen=True)
class Asked:
    """A unit with the rows that it answers; several may ask the same."""

    unit: Unit
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Catalogue:
    """All rows.

    Attributes:
        address: of what they were read from.
        kind: in words.
        rows: in the catalogue's order.
    """

    address: str
    kind: str
    rows: tuple[Row, ...]

    @property
    def faults(self) -> list[Row]:
        """The rows that cannot be asked."""
        return [row for row in self.rows if row.fault is not None]

    def asked(self) -> list[Asked]:
        """The units of work, in the order in which their images come first."""
        together: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.fault is None:
                together.setdefault(row.image, []).append(row)
        return [
            Asked(Unit(image, tuple(dict.fromkeys(row.phrase for row in rows))), tuple(rows))
            for image, rows in together.items()
        ]


def ask_each(found: Iterable[tuple[str, str | None, str | None]], phrases: Iterable[str]) -> Iterator[Row]:
    """Rows: each image with its own phrase, or with each of these.

    Args:
        found: image, its phrase and its fault, if it has them.
        phrases: asked about every image; none where the catalogue has its own.
    """
    common = list(phrases)
    number = 0
    for image, own, fault in found:
        for phrase in common or [own or ""]:
            number += 1
            yield _checked(number, image, phrase, fault)


def _checked(number: int, image: str, phrase: str, fault: str | None) -> Row:
    if fault is None and not image:
        fault = "the row names no image"
    if fault is None:
        try:
            phrase = check_phrase(phrase)
        except UserError as error:
            fault = str(error)
    return Row(number, image, phrase, fault)
