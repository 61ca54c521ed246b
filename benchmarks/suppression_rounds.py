"""How many rounds of suppression the objects of real images take, beside those that an exported graph has.

    python benchmarks/suppression_rounds.py FOLDER... [--model built-in]

Each view of each image is a case: a line for each number of rounds, and how many cases took it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import torch
from torch import Tensor

import refersat
from refersat.models import instances

ENDINGS = {".jpg", ".png", ".tif"}


def main() -> None:
    """Ask about every image once, and count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default="built-in")
    arguments = parser.parse_args()
    segmenter = refersat.load(arguments.model, device="cpu")
    images = [path for folder in arguments.folders for path in sorted(folder.rglob("*")) if path.suffix in ENDINGS]
    rounds: Counter[int] = Counter()
    suppress = instances.unsuppressed

    def counted(there: Tensor, same: Tensor) -> Tensor:
        kept = suppress(there, same)
        rounds[rounds_of(there, same, kept)] += 1
        return kept

    with patch.object(instances, "unsuppressed", counted):
        for image in images:
            segmenter(image, "all ships")
    print(f"{len(images)} images; a graph has {instances.TRACED_ROUNDS} rounds\n| rounds | views |\n|---|---|")
    for number, views in sorted(rounds.items()):
        print(f"| {number} | {views} |")


def rounds_of(there: Tensor, same: Tensor, kept: Tensor) -> int:
    """After how many rounds those are kept that are in the end."""
    by_better = same.triu(diagonal=1).transpose(1, 2)
    now, number = there, 0
    while not torch.equal(now, kept):
        now, number = there & ~(by_better & now[:, None]).any(-1), number + 1
    return number


if __name__ == "__main__":
    main()
