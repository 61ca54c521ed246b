"""How much an answer depends on where the tiles of a scene lie, with a real model on a real scene.

python benchmarks/scene_seams.py manila.tif --nodata 0 -t "all vehicles" -t "the bridge"

Every model sees a tile at a size of its own, so a large scene cannot be shown to it at once at the same resolution. In
place of the untiled answer stands a dense one: with tiles that overlap by `--reference`, each pixel is the mean of many
views. Against it are put tilings with less overlap, and the whole scene at one glance (reduced, as `--strategy whole`
does it). Printed are, over the pixels that count: the share that is on the same side of the threshold, the mean
difference of probabilities, and the IoU of the two masks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from refersat.scene.blend import FULL
from refersat.scene.options import DEFAULT_TILE, SceneOptions
from refersat.scene.reader import SceneReader
from refersat.scene.strategy import Look
from refersat.scene.tiles import Tiles
from refersat.segmenter import Segmenter, load

Values = NDArray[np.float32]


def main() -> None:
    """Answer with each tiling, and print how they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("-t", "--text", action="append", required=True, metavar="PHRASE")
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--tile", type=int, default=DEFAULT_TILE)
    parser.add_argument("--overlaps", type=float, nargs="+", default=[0.0, 0.25, 0.5])
    parser.add_argument("--reference", type=float, default=0.75, help="overlap (default: 0.75)")
    parser.add_argument("--nodata", type=float)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    segmenter = load(asked.model, device="cpu")
    with SceneReader(asked.scene, nodata=asked.nodata) as reader:
        counts = reader.read_valid(reader.extent)
        dense, _, _ = answers(reader, segmenter, asked.text, asked.tile, asked.reference)
        print(f"{asked.scene.name}, {reader.width} x {reader.height} px, against an overlap of {asked.reference:g}:\n")
        print("| tiles | phrase | seconds | equal pixels | mean difference | IoU |\n|---|---|---|---|---|---|")
        for overlap in [*asked.overlaps, None]:
            values, tiles, seconds = answers(reader, segmenter, asked.text, asked.tile, overlap)
            name = "whole" if overlap is None else f"{tiles}, overlap {overlap:g}"
            for phrase, one, other in zip(asked.text, values, dense, strict=True):
                print(f"| {name} | {phrase} | {seconds:.0f} | {difference(one, other, counts, segmenter.threshold)} |")


def answers(
    reader: SceneReader, segmenter: Segmenter, phrases: Sequence[str], tile: int, overlap: float | None
) -> tuple[Values, int, float]:
    """Probabilities (P, H, W), how many tiles gave them, and in how many seconds; `overlap` None: the whole at once."""
    look = Look(reader, segmenter, phrases, SceneOptions(strategy="tile", tile=tile, overlap=overlap or 0.0))
    tiles = Tiles.whole(look) if overlap is None else Tiles.tiled(look)
    began = time.perf_counter()
    values = np.concatenate([band.probability for band in tiles.bands(0, lambda _: None)], axis=1)
    return values.astype(np.float32) / FULL, tiles.steps, time.perf_counter() - began


def difference(one: Values, other: Values, counts: NDArray[np.bool_], threshold: float) -> str:
    """The last three columns."""
    first, second = (values[counts] > threshold for values in (one, other))
    union = int((first | second).sum())
    iou = f"{100 * int((first & second).sum()) / union:.1f} %" if union else "both empty"
    return f"{100 * (first == second).mean():.2f} % | {np.abs(one[counts] - other[counts]).mean():.4f} | {iou}"


if __name__ == "__main__":
    main()
