"""Which view shows best what is meant: the model's answers when it looks at the image at one size alone.

    python benchmarks/view_sides.py --data triplets:runs/val --every 3

Prints the mean IoU, in percent, of all phrases with a target for each side of the view; what the best view for each
phrase would give, chosen by the truth; and what the view with the likeliest object gives, also when every view but the
largest has a handicap. With `--glance` the coarser views that the configuration has are looked at, too, and with
`--pieces` once for each factor from which on what a finer view takes to pieces is drawn coarsely. The score is ignored.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from selection_oracle import AT_ONCE, full_size, iou

from refersat.data.samples import Sample
from refersat.data.target import target_of
from refersat.data.triplets import read_triplets
from refersat.imagery import read_image
from refersat.models import selected_masks
from refersat.models.loading import LoadedModel, load_model
from refersat.models.preprocess import preprocess

HANDICAP = 1.0
"""Logits."""


def answers(loaded: LoadedModel, samples: Sequence[Sample], *, every: int) -> NDArray[np.float64]:
    """IoU and logit of the likeliest object (., 2) of every phrase with a target, about each so-manieth image."""
    config, told = loaded.model.config, []
    images = groupby(sorted(samples, key=lambda sample: str(sample.image)), key=lambda sample: sample.image)
    chosen = [(path, list(about)) for number, (path, about) in enumerate(images) if number % every == 0]
    for path, about in track(chosen, description=f"{config.image_size} px", transient=True):
        image = read_image(path).rgb
        truths = [(sample, truth) for sample in about if (truth := target_of(sample, image.shape[:2])) is not None]
        for start in range(0, len(truths), AT_ONCE):
            some = truths[start : start + AT_ONCE]
            words = loaded.tokenizer([sample.phrase for sample, _ in some])
            output = loaded.model(*preprocess([image], config), *words)
            for k, (_, truth) in enumerate(some):
                drawn = full_size(output.logits[k] - config.mask_threshold, truth)
                told.append((iou(drawn, truth), float(output.selection.logits[k].amax())))
    return np.array(told)


def sides(loaded: LoadedModel, samples: Sequence[Sample], arguments: argparse.Namespace) -> Table:
    """A row for each side, and for each way to choose among them; the largest side comes first."""
    table, told = Table("view", "phrases", "mIoU"), []
    for side in arguments.sides:
        loaded.model.config.image_size = side
        told.append(answers(loaded, samples, every=arguments.every))
        table.add_row(f"{side} px", str(len(told[-1])), f"{100 * told[-1][:, 0].mean():.1f}")
    if len(told) > 1:
        ious, logits = np.moveaxis(np.stack(told), 2, 0)
        table.add_row("best, by the truth", "", f"{100 * ious.max(0).mean():.1f}")
        for handicap in (0.0, HANDICAP):
            weighed = logits - handicap * (np.arange(len(told)) > 0)[:, None]
            taken = np.take_along_axis(ious, weighed.argmax(0)[None], 0)
            table.add_row(f"likeliest, handicap {handicap:g}", "", f"{100 * taken.mean():.1f}")
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="built-in", help="name or folder of a model with a selector")
    parser.add_argument("--data", required=True, help="validation data, triplets:FOLDER")
    parser.add_argument("--every", type=int, default=1, help="only every so-manieth image")
    parser.add_argument("--sides", type=int, nargs="+", default=[448, 320, 224, 192, 160, 128], help="multiples of 32")
    parser.add_argument("--glance", type=float, default=0.0, help="0.5 or 0.25: look at coarser views, too")
    parser.add_argument("--pieces", type=float, nargs="+", default=[selected_masks.TAKEN_TO_PIECES], help="factors")
    arguments = parser.parse_args()
    loaded = load_model(arguments.model)
    if not isinstance(loaded, LoadedModel) or loaded.model.selector is None:
        raise SystemExit(f"{arguments.model} has no selector")
    loaded.model.config.glance = arguments.glance
    samples = list(read_triplets(arguments.data.removeprefix("triplets:")).samples)
    for factor in arguments.pieces:
        with mock.patch.object(selected_masks, "TAKEN_TO_PIECES", factor), torch.inference_mode():
            Console(width=110).print(f"drawn coarsely from {factor:g} times", sides(loaded, samples, arguments))


if __name__ == "__main__":
    main()
