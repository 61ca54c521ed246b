"""How many images a second a CPU answers, one after the other and side by side, with nothing read or written.

python benchmarks/images_beside.py FOLDER [--dtype float32] [--count 16]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import refersat
from refersat.imagery import read_image

PHRASE = "the tennis court on the left"
ROUNDS = 3


def main() -> None:
    """Answer some images, several times in both ways, and print the best of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of images")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--count", type=int, default=16, help="images")
    arguments = parser.parse_args()
    segmenter = refersat.load("built-in", device="cpu", dtype=arguments.dtype)
    paths = sorted(path for path in arguments.folder.iterdir() if path.suffix in (".jpg", ".png", ".tif"))
    images = [read_image(path) for path in paths[: arguments.count]]
    segmenter(images[0], PHRASE)
    alone, beside = 0.0, 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for image in images:
            segmenter(image, PHRASE)
        alone = max(alone, len(images) / (time.perf_counter() - began))
        began = time.perf_counter()
        segmenter.batch(images, [PHRASE] * len(images))
        beside = max(beside, len(images) / (time.perf_counter() - began))
    print(f"images a second, the best of {ROUNDS}: {alone:.1f} one after the other, {beside:.1f} side by side")


if __name__ == "__main__":
    main()
