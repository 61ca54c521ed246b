"""How many masks the fine-tuning of SAM's mask decoder needs: the paper's 10 % experiment at our size.

python benchmarks/decoder_share.py split nwpu-vhr10/train.json --out out/share
python benchmarks/decoder_share.py measure triplets:runs/val --every 5 --grounder GROUNDER before=runs/a/model

`split` writes two instances files: `before.json`, every other image with the objects of five kinds only, for a SAM
that is to be fine-tuned, and `after.json`, the other images with all ten, to fine-tune it with. `measure` prints how
well the SAMs named NAME=FOLDER, all with one eye, segment the same phrases from a box alone: the true box, and the
boxes that a grounder finds.
"""

from __future__ import annotations

import argparse
import json
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pslg_steps import Case, markdown, read_cases, true_box
from torch import Tensor

from refersat.evaluation.metrics import IouTally, overlap
from refersat.models.grounding.loading import load_grounder
from refersat.models.prompted.compact import CompactSam
from refersat.models.pslg.fine import FineStage
from refersat.models.pslg.options import PslgOptions

KINDS = ("airplane", "ship", "storage_tank", "baseball_diamond", "tennis_court")
COLUMNS = ("mIoU", "oIoU", "Pr@0.5", "Pr@0.7", "Pr@0.9")


def split(source: Path, out: Path) -> None:
    """Write the two instances files."""
    whole = json.loads(source.read_text(encoding="utf-8"))
    known = {kind["id"] for kind in whole["categories"] if kind["name"] in KINDS}
    images = sorted(whole["images"], key=lambda image: str(image["file_name"]))
    out.mkdir(parents=True, exist_ok=True)
    for name, mine in (("before", images[0::2]), ("after", images[1::2])):
        numbers = {image["id"] for image in mine}
        objects = [each for each in whole["annotations"] if each["image_id"] in numbers]
        if name == "before":
            objects = [each for each in objects if each["category_id"] in known]
        content = {**whole, "images": mine, "annotations": objects}
        (out / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        print(f"{name}.json: {len(mine)} images, {len(objects)} objects")


def measure(source: str, every: int, grounder_folder: str, sams: dict[str, Path]) -> dict[str, dict[str, Any]]:
    """SAM and whose boxes -> scores."""
    device = torch.device("cpu")
    grounder = load_grounder(grounder_folder, device=device)
    loaded = {name: CompactSam.load(folder, device=device) for name, folder in sams.items()}
    eye = next(iter(loaded.values())).model.eye
    for sam in loaded.values():  # each image is looked at once for all of them
        if sam.model.config.eye_sha256 != next(iter(loaded.values())).model.config.eye_sha256:
            raise SystemExit("the SAMs see with different eyes")
        sam.model.eye = eye
    options = PslgOptions(use_point=False, use_boundary=False)
    stages = {name: FineStage(sam, options) for name, sam in loaded.items()}
    tallies = {f"{name}, {boxes}": IouTally() for boxes in ("true box", "predicted boxes") for name in stages}
    for case in islice(read_cases(source, "all", 0), 0, None, every):
        assert case.phrase is not None
        found = grounder.ground(case.image, [case.phrase])
        predicted = found.boxes if found.parts is None else found.parts[0]
        for name, stage in stages.items():
            _add(tallies[f"{name}, true box"], case, stage, true_box(case))
            _add(tallies[f"{name}, predicted boxes"], case, stage, predicted)
    results = {name: tally.result() for name, tally in tallies.items()}
    return {name: {column: float(result[column]) for column in COLUMNS} for name, result in results.items()}


def _add(tally: IouTally, case: Case, stage: FineStage, boxes: Tensor) -> None:
    masks = [fine.mask for fine in stage.segment(case.image, boxes)]
    tally.add(*overlap(np.logical_or.reduce(masks), case.truth))


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    splitting = commands.add_parser("split")
    splitting.add_argument("data", type=Path, metavar="INSTANCES.json")
    splitting.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    measuring = commands.add_parser("measure")
    measuring.add_argument("data", metavar="KIND:PATH")
    measuring.add_argument("sams", nargs="+", metavar="NAME=FOLDER")
    measuring.add_argument("--grounder", required=True, metavar="FOLDER")
    measuring.add_argument("--every", type=int, default=1)
    words = parser.parse_args()
    if words.command == "split":
        split(words.data, words.out)
    else:
        sams = {name: Path(folder) for name, _, folder in (each.partition("=") for each in words.sams)}
        print(markdown("SAM, boxes", measure(words.data, words.every, words.grounder, sams)))


if __name__ == "__main__":
    main()
