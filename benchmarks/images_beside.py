"""How many images a second a CPU answers, one after the other and side by side, with nothing read or written.

python benchmarks/images_beside.py FOLDER [--dtype float32] [--count 16] [--together 2 4 8]
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import refersat
from refersat.imagery import Image, read_image

PHRASE = "the tennis court on the left"
ROUNDS = 3


def main() -> None:
    """Answer some images, several times in both ways, and print the best of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of images")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--count", type=int, default=16, help="images")
    parser.add_argument("--together", type=int, nargs="*", default=[], help="also so many in one pass, side by side")
    arguments = parser.parse_args()
    segmenter = refersat.load("built-in", device="cpu", dtype=arguments.dtype)
    paths = sorted(path for path in arguments.folder.iterdir() if path.suffix in (".jpg", ".png", ".tif"))
    images = [read_image(path) for path in paths[: arguments.count]]
    phrases = [PHRASE] * len(images)
    segmenter(images[0], PHRASE)
    print(f"images a second, the best of {ROUNDS}")
    print(f"one after the other: {best(images, lambda: [segmenter(image, PHRASE) for image in images]):.1f}")
    print(f"side by side: {best(images, lambda: segmenter.batch(images, phrases)):.1f}")
    for size in arguments.together:
        speed = best(images, lambda size=size: segmenter.batch(images, phrases, batch_size=size))
        print(f"side by side, {size} in one pass: {speed:.1f}")


def best(images: Sequence[Image], answer: Callable[[], object]) -> float:
    """Images a second."""
    least = math.inf
    for _ in range(ROUNDS):
        began = time.perf_counter()
        answer()
        least = min(least, time.perf_counter() - began)
    return len(images) / least


if __name__ == "__main__":
    main()
