"""Which strategy suits phrases and scene, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from refersat.scene.window import Window
from refersat.text.parse import parse
from refersat.text.scope import scene_words


@dataclass(frozen=True)
class Choice:
    """How the scene is looked at.

    Attributes:
        name: "whole", "tile" or "coarse-to-fine".
        reason: why, in one line for the user.
        warning: what will go wrong with it, in one line; None when nothing.
    """

    name: str
    reason: str
    warning: str | None = None


def choose(wanted: str, phrases: Sequence[str], extent: Window, tile: float) -> Choice:
    """The strategy for phrases about a scene of this extent, seen in tiles with a side of `tile` of its pixels.

    `auto` takes "whole" for what fits into one tile, "coarse-to-fine" where a phrase speaks of the whole scene, and
    else "tile". What the user wants is done, and warned of where a tile cannot know what a phrase means.
    """
    about = {phrase: words for phrase in phrases if (words := scene_words(phrase))}
    fits = max(extent.width, extent.height) <= tile
    if wanted == "auto":
        if fits:
            return Choice("whole", f"the scene fits into one tile of {tile:.0f} px")
        if about:
            return Choice("coarse-to-fine", _said(about), _not_understood(about))
        return Choice("tile", "the phrases mean the same in every part of the scene")
    warning = _not_understood(about) if wanted == "coarse-to-fine" else None
    if wanted == "tile" and about and not fits:
        warning = f"{_said(about)}: each tile finds its own; --strategy coarse-to-fine compares the whole scene"
    return Choice(wanted, "as asked", warning)


def _not_understood(about: Iterable[str]) -> str | None:
    unclear = [f'"{phrase}"' for phrase in about if parse(phrase) is None]
    return f"the words are left to the model, on an overview: {', '.join(unclear)}" if unclear else None


def _said(about: dict[str, tuple[str, ...]]) -> str:
    words = list(dict.fromkeys(f'"{word}"' for found in about.values() for word in found))
    listed = words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
    return f"{listed} {'is' if len(words) == 1 else 'are'} about the whole scene"
