"""Reads back what `refersat.evaluation.report` wrote, as far as a comparison needs it."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from refersat.errors import UserError
from refersat.evaluation.report import METRICS_FILE, SAMPLES_FILE


@dataclass(frozen=True)
class SampleLine:
    """One line of `per_sample.csv`.

    Attributes:
        dataset, id: which sample.
        image: which image it is about, unique over data sets.
        phrase, type: of the sample.
        overlaps: (intersection, union) by protocol; empty where the phrase names nothing.
        empty: whether nothing was painted.
        painted: share of the image that was, in 0..1.
    """

    dataset: str
    id: str
    image: str
    phrase: str
    type: str
    overlaps: dict[str, tuple[int, int]]
    empty: bool
    painted: float


@dataclass(frozen=True)
class FinishedRun:
    """A finished evaluation in its folder."""

    folder: Path
    model: str
    protocols: tuple[str, ...]
    lines: tuple[SampleLine, ...]

    def by_key(self) -> dict[tuple[str, str], SampleLine]:
        """The lines by data set and id; a single data set goes by any name, as its folder may have been moved."""
        single = len({line.dataset for line in self.lines}) == 1
        return {("" if single else line.dataset, line.id): line for line in self.lines}


def read_run(folder: Path) -> FinishedRun:
    """The evaluation in a folder.

    Raises:
        UserError: there is none, it is not finished, or its files are of another version.
    """
    try:
        metrics = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
        with (folder / SAMPLES_FILE).open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
        protocols = tuple(str(name) for name in metrics["protocols"])
        lines = tuple(_line(cells, protocols) for cells in table)
        return FinishedRun(folder, str(metrics["model"]["name"]), protocols, lines)
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no finished evaluation: it has no {METRICS_FILE} with {SAMPLES_FILE} beside it"
        ) from error
    except OSError as error:
        raise UserError(f"cannot read the evaluation in {folder}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"the evaluation in {folder} is not of this version: evaluate again") from error


def _line(cells: dict[str, str], protocols: tuple[str, ...]) -> SampleLine:
    overlaps = {}
    if cells["iou"]:
        for number, name in enumerate(protocols):
            end = f"_{name}" if number else ""  # the first protocol has the plain columns
            overlaps[name] = int(cells[f"intersection{end}"]), int(cells[f"union{end}"])
    area = int(cells["predicted_area"])
    return SampleLine(
        dataset=cells["dataset"],
        id=cells["id"],
        image=f"{cells['dataset']}/{cells['image']}",
        phrase=cells["phrase"],
        type=cells["type"],
        overlaps=overlaps,
        empty=area == 0,
        painted=area / int(cells["pixels"]),
    )
