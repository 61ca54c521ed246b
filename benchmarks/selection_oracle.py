"""What keeps the model's answers from being right: the choice among the objects it finds, their masks, or the grid?

    python benchmarks/selection_oracle.py --data triplets:runs/val

For each kind of phrase, category and size of target the mean IoU, in percent, of

- model: the answer, whatever the score of presence says;
- chosen: the same masks with the right objects chosen by the truth;
- boxes: the boxes of the right objects, filled;
- grid: the truth itself at the resolution of the masks, a quarter of the model's view;

and the share of phrases for which all objects are told apart rightly (exact), the likeliest object is a right one (top)
and at least one of the objects that were found is a right one (reach).
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from refersat.data.samples import Sample
from refersat.data.target import target_of
from refersat.data.triplets import read_triplets
from refersat.evaluation.metrics import SIZE_CLASSES, overlap, size_class
from refersat.imagery import read_image
from refersat.models.loading import LoadedModel, load_model
from refersat.models.preprocess import preprocess
from refersat.models.selection import NOT_MEANT, Selection

COLUMNS = ("model", "chosen", "boxes", "grid", "exact", "top", "reach")
SURELY = 10.0
"""Logit of what the truth chooses."""

AT_ONCE = 8
"""Phrases."""


def rows(loaded: LoadedModel, samples: list[Sample], *, every: int) -> Iterator[dict[str, float | str]]:
    """A row for each phrase that has a target, about every so-manieth image."""
    config = loaded.model.config
    images = groupby(sorted(samples, key=lambda sample: str(sample.image)), key=lambda sample: sample.image)
    chosen = [(path, list(about)) for number, (path, about) in enumerate(images) if number % every == 0]
    for path, about in track(chosen, description="images"):
        image = read_image(path).rgb
        truths = [(sample, truth) for sample in about if (truth := target_of(sample, image.shape[:2])) is not None]
        for start in range(0, len(truths), AT_ONCE):
            some = truths[start : start + AT_ONCE]
            questions = (*preprocess([image], config), *loaded.tokenizer([each.phrase for each, _ in some]))
            output = loaded.model(*questions)
            selection = output.selection
            targets = torch.stack([torch.from_numpy(truth).float()[None] for _, truth in some])
            meant = _meant(selection, targets)
            right = loaded.model(
                *questions,
                choice=lambda offered, targets=targets: torch.where(_meant(offered, targets), SURELY, NOT_MEANT),
            ).logits
            for k, (sample, truth) in enumerate(some):
                yield {
                    "all": "all",
                    "kind": sample.type or "",
                    "category": sample.category or "",
                    "size": size_class(float(truth.mean())),
                    "model": iou(full_size(output.logits[k] - config.mask_threshold, truth), truth),
                    "chosen": iou(full_size(right[k] - config.mask_threshold, truth), truth),
                    "boxes": iou(_filled(selection, meant[k], truth.shape), truth),
                    "grid": iou(full_size(_reduced(truth, output.low_res_logits.shape[-2:]) - 0.5, truth), truth),
                    **_choice(selection.logits[k], meant[k]),
                }


def _meant(selection: Selection, targets: Tensor) -> Tensor:
    """Which of the objects (B, K) that were found the truth (B, 1, H, W) means."""
    meant: Tensor = selection.meant(targets) & (selection.sightings.objects.scores > 0)
    return meant


def _choice(logits: Tensor, meant: Tensor) -> dict[str, float]:
    return {
        "exact": float(torch.equal(logits > 0, meant)),
        "top": float(meant[logits.argmax()]),
        "reach": float(meant.any()),
    }


def full_size(logits: Tensor, like: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Logits (1, h, w), foreground above 0 -> a mask (H, W)."""
    mask: NDArray[np.bool_] = F.interpolate(logits[None], like.shape, mode="bilinear")[0, 0].numpy() > 0
    return mask


def _reduced(truth: NDArray[np.bool_], size: torch.Size) -> Tensor:
    return F.adaptive_avg_pool2d(torch.from_numpy(truth).float()[None], (size[0], size[1]))


def _filled(selection: Selection, meant: Tensor, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    filled = np.zeros(shape, np.bool_)
    scale = selection.sightings.objects.boxes.new_tensor([shape[1], shape[0]] * 2)
    for x0, y0, x1, y1 in (selection.sightings.objects.boxes[0][meant] * scale).round().int().clamp(min=0).tolist():
        filled[y0:y1, x0:x1] = True
    return filled


def iou(answer: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """From 0 to 1."""
    shared, either = overlap(answer, truth)
    return shared / max(1, either)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="built-in", help="name or folder of a model with a selector")
    parser.add_argument("--data", required=True, help="validation data, triplets:FOLDER")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth image")
    arguments = parser.parse_args()
    loaded = load_model(arguments.model)
    if not isinstance(loaded, LoadedModel) or loaded.model.selector is None:
        raise SystemExit(f"{arguments.model} has no selector")
    samples = list(read_triplets(arguments.data.removeprefix("triplets:")).samples)
    with torch.inference_mode():
        measured = list(rows(loaded, samples, every=arguments.every))
    table = Table("", "phrases", *COLUMNS)
    for grouping in ("all", "kind", "category", "size"):
        groups = defaultdict(list)
        for row in measured:
            groups[row[grouping]].append(row)
        names = [name for _, name in SIZE_CLASSES if name in groups] if grouping == "size" else sorted(groups)
        for name in names:
            means = [f"{100 * np.mean([row[column] for row in groups[name]]):.1f}" for column in COLUMNS]
            table.add_row(name, str(len(groups[name])), *means)
        table.add_section()
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
