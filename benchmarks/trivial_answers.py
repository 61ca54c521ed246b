"""What answers that never look at the image reach: the floor that a model must clear.

python benchmarks/trivial_answers.py triplets:runs/val

"whole image" paints everything; "named cell" paints the part of a 3x3 grid that the phrase names (the whole image where
it names none). Phrases that name nothing are left out, as in `refersat evaluate`.
"""

from __future__ import annotations

import re
import sys

import numpy as np
from numpy.typing import NDArray

from refersat.data.triplets import read_triplets
from refersat.evaluation.metrics import IouTally, overlap

_LEFT, _RIGHT = re.compile(r"\b(left|west)"), re.compile(r"\b(right|east)")
_TOP = re.compile(r"\b(top|upper|up|above|north)")
_BOTTOM = re.compile(r"\b(bottom|lower|low|down|below|south)")
_MIDDLE = re.compile(r"\b(middle|cent(er|re|ral)|midpoint)")


def named_cell(phrase: str, height: int, width: int) -> NDArray[np.bool_]:
    """The part of an image (H, W) whose name is in the phrase."""
    text = phrase.lower()
    middle = bool(_MIDDLE.search(text))
    answer = np.zeros((height, width), np.bool_)
    rows = _third(bool(_TOP.search(text)), bool(_BOTTOM.search(text)), middle, height)
    columns = _third(bool(_LEFT.search(text)), bool(_RIGHT.search(text)), middle, width)
    answer[rows, columns] = True
    return answer


def _third(first: bool, last: bool, middle: bool, size: int) -> slice:
    if first and not last:
        return slice(0, size // 3)
    if last and not first:
        return slice(size - size // 3, size)
    return slice(size // 3, size - size // 3) if middle else slice(0, size)


def main(source: str) -> None:
    """Print a table."""
    tallies = {"whole image": IouTally(), "named cell": IouTally()}
    for sample in read_triplets(source.removeprefix("triplets:")).samples:
        if sample.load_mask is None:
            continue
        truth = sample.load_mask()
        tallies["whole image"].add(*overlap(np.ones_like(truth), truth))
        tallies["named cell"].add(*overlap(named_cell(sample.phrase, *truth.shape), truth))
    print("| answer | mIoU | oIoU | Pr@0.5 | phrases |\n|---|---|---|---|---|")
    for name, tally in tallies.items():
        numbers = tally.result()
        print(f"| {name} | {numbers['mIoU']:.2f} | {numbers['oIoU']:.2f} | {numbers['Pr@0.5']:.2f} | {tally.count} |")


if __name__ == "__main__":
    main(sys.argv[1])
