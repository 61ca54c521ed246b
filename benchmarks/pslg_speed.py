"""What the two steps around SAM cost beside SAM itself, at 1024 px.

python benchmarks/pslg_speed.py                          # SAM 2.1 large with random weights, which are as slow as any
python benchmarks/pslg_speed.py --sam models/sam2 --device cuda

The images are drawn: one object of a size on grained ground, and a mask that is a little too large. Of each time the
smallest of a few runs is taken: other work on the machine only adds to it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Sam2Config, Sam2HieraDetConfig, Sam2Model, Sam2VisionConfig

from refersat.models.peers.preparation import Preparation
from refersat.models.prompted.loading import load_prompted
from refersat.models.prompted.sam2 import Sam2
from refersat.models.prompted.segmenter import PromptedSegmenter
from refersat.models.pslg.boundary import refine_boundary
from refersat.models.pslg.foreground import foreground_point

SIDE = 1024


def large() -> Sam2:
    """SAM 2.1 large without its weights."""
    widths = [144, 288, 576, 1152]
    trunk = Sam2HieraDetConfig(
        hidden_size=widths[0],
        num_attention_heads=2,
        blocks_per_stage=[2, 6, 36, 4],
        embed_dim_per_stage=widths,
        num_attention_heads_per_stage=[2, 4, 8, 16],
        window_size_per_stage=[8, 4, 16, 8],
        global_attention_blocks=[23, 33, 43],
        window_positional_embedding_background_size=[7, 7],
    )
    vision = Sam2VisionConfig(backbone_config=trunk, backbone_channel_list=widths[::-1])
    return Sam2(Sam2Model(Sam2Config(vision_config=vision)).eval(), Preparation())


def drawn(radius: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_], tuple[float, float, float, float]]:
    """Image, mask and box of a bright ellipse with a half axis of `radius` pixels."""
    noise = np.random.default_rng(0)
    image = noise.normal(90, 12, (SIDE, SIDE, 3))
    mask = np.zeros((SIDE, SIDE), np.uint8)
    cv2.ellipse(mask, (512, 512), (radius, radius * 2 // 3), 30, 0, 360, 1, -1)
    image[mask > 0] += 70
    grown = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=max(1, radius // 50)) > 0
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return np.clip(image, 0, 255).astype(np.uint8), grown, box


def best(call: Callable[[], object], runs: int) -> float:
    """The smallest time of some runs, in milliseconds."""
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - began))
    return min(times)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", type=Path, metavar="FOLDER")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=3)
    words = parser.parse_args()
    device = torch.device(words.device)
    sam: PromptedSegmenter = load_prompted(words.sam, device=device) if words.sam else large()
    sam.network.to(device)

    def ask() -> None:
        image, _, box = drawn(100)
        with torch.inference_mode():
            sam.segment(sam.see(image), torch.tensor([box]) / SIDE, torch.full((1, 2), 0.5)).cpu()

    whole = best(ask, words.runs)
    print(f"SAM on {words.device}: {whole:.0f} ms for an image of {SIDE} px and one prompt\n")
    print("| object | point | boundary | of SAM's time |\n|---|---|---|---|")
    for radius in (10, 50, 200, 480):
        image, mask, box = drawn(radius)
        point = best(lambda image=image, box=box: foreground_point(image, box), 4 * words.runs)
        boundary = best(lambda image=image, mask=mask: refine_boundary(image, mask), 4 * words.runs)
        share = 100 * (point + boundary) / whole
        print(f"| {2 * radius} px | {point:.1f} ms | {boundary:.1f} ms | {share:.1f} % |")


if __name__ == "__main__":
    main()
