"""What may be asked: a phrase, and a threshold."""

from __future__ import annotations

from refersat.errors import UserError

MAX_PHRASE_CHARACTERS = 1000


def check_phrase(phrase: str) -> str:
    """The phrase with its white space made plain.

    Raises:
        UserError: it is empty, longer than `MAX_PHRASE_CHARACTERS`, or not text.
    """
    if not isinstance(phrase, str):
        raise UserError(f"a phrase is a text, not {type(phrase).__name__}")
    plain = " ".join(phrase.split())
    if not plain:
        raise UserError('the phrase is empty: say what to find, for example "the ship on the left"')
    if len(plain) > MAX_PHRASE_CHARACTERS:
        raise UserError(f"the phrase has {len(plain)} characters, more than {MAX_PHRASE_CHARACTERS}: shorten it")
    if any(ord(character) < 32 or 0xD800 <= ord(character) <= 0xDFFF for character in plain):
        raise UserError("the phrase holds characters that are not text: check its encoding")
    return plain


def check_threshold(threshold: float | None) -> None:
    """Refuse what is no probability.

    Raises:
        UserError: outside of [0, 1].
    """
    if threshold is not None and not 0.0 <= threshold <= 1.0:  # also refuses NaN
        raise UserError(f"the threshold is a probability from 0 to 1, not {threshold}")
