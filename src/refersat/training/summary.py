"""What a run trains, in a table for people."""

from __future__ import annotations

from collections.abc import Sequence

from refersat.training.parts import PartSummary
from refersat.training.recipe import PartOptions, Recipe


def parts_table(parts: Sequence[PartSummary], recipe: Recipe) -> list[str]:
    """Lines: for each part of the model its size, how it trains, and where its weights come from."""
    rows = [("part", "weights", "trained", "rate", "from")]
    for part in parts:
        options: PartOptions = getattr(recipe.parts, part.name)
        rate = options.learning_rate or recipe.optimizer.learning_rate
        rows.append(
            (
                part.name,
                millions(part.parameters),
                millions(part.trained) if part.trained else "frozen",
                f"{rate:g}" if part.trained else "",
                _origins(part),
            )
        )
    rows.append(
        (
            "all",
            millions(sum(part.parameters for part in parts)),
            millions(sum(part.trained for part in parts)),
            "",
            "",
        )
    )
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(row[column].rjust(widths[column]) for column in (1, 2, 3)), row[4]]
        ).rstrip()
        for row in rows
    ]


def millions(count: int) -> str:
    """12345678 -> "12.35 M"."""
    return f"{count / 1e6:.2f} M"


def _origins(part: PartSummary) -> str:
    if len(part.origins) == 1:
        return next(iter(part.origins))
    return ", ".join(f"{name} ({count / part.parameters:.0%})" for name, count in part.origins.items())
