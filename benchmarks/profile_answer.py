"""Where the built-in model's time goes, kernel by kernel: one answer about 512 pixels of noise, or several in one pass.

OMP_NUM_THREADS=1 python benchmarks/profile_answer.py --dtype bfloat16
OMP_NUM_THREADS=1 python benchmarks/profile_answer.py --dtype bfloat16 --images FOLDER --together 8
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch.profiler import ProfilerActivity, profile

import refersat

SIDE = 512
PHRASE = "all ships"
ROWS = 25


def main() -> None:
    """Answer some times, print the least and the median, and profile one answer more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--repeats", type=int, default=12)
    parser.add_argument("--images", type=Path, help="a folder of .jpg, instead of noise")
    parser.add_argument("--together", type=int, default=1, help="images in one pass")
    arguments = parser.parse_args()
    segmenter = refersat.load(arguments.model, device="cpu", dtype=arguments.dtype)
    images = pictures(arguments.images, arguments.together)

    def answer() -> None:
        segmenter.batch(images, [PHRASE] * len(images), batch_size=len(images))

    seconds = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        answer()
        seconds.append((time.perf_counter() - start) / len(images))
    print(
        f"{min(seconds):.3f} s at least, {np.median(seconds):.3f} s at the median of {arguments.repeats}, for an image"
    )
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        answer()
    print(recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=ROWS))
    print(recorded.key_averages(group_by_input_shape=True).table(sort_by="self_cpu_time_total", row_limit=ROWS))


def pictures(folder: Path | None, count: int) -> list[NDArray[np.uint8] | Path]:
    """The first files of a folder, or noise."""
    if folder is not None:
        return [*sorted(folder.glob("*.jpg"))[:count]]
    draw = np.random.default_rng(0)
    return [draw.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for _ in range(count)]


if __name__ == "__main__":
    main()
