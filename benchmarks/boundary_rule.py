"""When a new boundary counts: what each pair of thresholds of the boundary step would bring, on training images.

python benchmarks/boundary_rule.py nwpu-vhr10/train.json --every 12
python benchmarks/boundary_rule.py triplets:runs/train-phrases --every 8

The thresholds of `BoundaryOptions` are to be chosen where nothing is measured later: DATA must not be what is reported.
Of an instances file each object is a case with its true box, of KIND:PATH each phrase with the boxes that the model's
grounder finds. The step runs once for each box; a rule then says which of its masks count. A table with a line for
each `least_gain` and a column for each `least_parting`: the mean change of IoU in points, and its standard error.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from pslg_steps import Case, read_cases, true_box

from refersat.evaluation.metrics import iou, overlap
from refersat.models.grounding.loading import load_grounder
from refersat.models.loading import locate
from refersat.models.prompted.loading import load_prompted
from refersat.models.pslg.boundary import BoundaryOptions
from refersat.models.pslg.fine import Fine, FineStage
from refersat.models.pslg.folder import network_folders
from refersat.models.pslg.options import PslgOptions
from refersat.models.zoo import BUILT_IN_PSLG

GAINS = (0.0, 1.0, 1.1, 1.2, 1.3, 1.5)
PARTINGS = (-1000.0, 0.0, 0.05, 0.1, 0.2, 0.3)


def changes(case: Case, fines: list[Fine]) -> NDArray[np.float64]:
    """(gains, partings): by how much the IoU of the union of all boxes' masks changes under each rule."""
    before = np.logical_or.reduce([fine.sam_mask for fine in fines])
    found = np.zeros((len(GAINS), len(PARTINGS)))
    for row, gain in enumerate(GAINS):
        for column, parting in enumerate(PARTINGS):
            masks = [_mask(fine, gain, parting) for fine in fines]
            after = np.logical_or.reduce(masks)
            found[row, column] = iou(*overlap(after, case.truth)) - iou(*overlap(before, case.truth))
    return found


def _mask(fine: Fine, gain: float, parting: float) -> NDArray[np.bool_]:
    step = fine.boundary
    counts = step is not None and step.accepted and step.gain >= gain and step.parting >= parting
    return fine.mask if counts else fine.sam_mask


def all_changes(source: str, model: str, every: int, stability: float) -> Iterator[NDArray[np.float64]]:
    """Of every so manieth case."""
    parts = network_folders(locate(model)[0])
    device = torch.device("cpu")
    grounder = None if source.endswith(".json") else load_grounder(parts["grounder"], device=device)
    options = PslgOptions(boundary=BoundaryOptions(least_gain=0, least_parting=-1000, least_stability=stability))
    stage = FineStage(load_prompted(parts["sam"], device=device), options)
    for case in islice(read_cases(source, "all", 0), 0, None, every):
        if grounder is None or case.phrase is None:
            boxes = true_box(case)
        else:
            grounded = grounder.ground(case.image, [case.phrase])
            boxes = grounded.boxes if grounded.parts is None else grounded.parts[0]
        yield changes(case, stage.segment(case.image, boxes))


def main() -> None:
    """Print the table as markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="INSTANCES.json or KIND:PATH")
    parser.add_argument("--model", default=BUILT_IN_PSLG, metavar="FOLDER|NAME", help="a PSLG-SAM")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--stability", type=float, default=0.85, help="least_stability of all rules")
    words = parser.parse_args()
    found = 100 * np.stack(list(all_changes(words.data, words.model, words.every, words.stability)))
    mean, error = found.mean(0), found.std(0) / np.sqrt(len(found))
    print(f"{len(found)} cases\n\n| least_gain | {' | '.join(f'least_parting {each:g}' for each in PARTINGS)} |")
    print("|---" * (len(PARTINGS) + 1) + "|")
    for gain, means, errors in zip(GAINS, mean, error, strict=True):
        cells = (f"{value:+.2f} ± {spread:.2f}" for value, spread in zip(means, errors, strict=True))
        print(f"| {gain:g} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
