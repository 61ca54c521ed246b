"""Where the built-in model's time goes: one answer about a 512-pixel image, kernel by kernel.

OMP_NUM_THREADS=1 python benchmarks/profile_answer.py --dtype bfloat16
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from torch.profiler import ProfilerActivity, profile

import refersat

SIDE = 512
ROWS = 25


def main() -> None:
    """Answer some times, print the least and the median, and profile one answer more."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--repeats", type=int, default=12)
    arguments = parser.parse_args()
    segmenter = refersat.load(arguments.model, device="cpu", dtype=arguments.dtype)
    image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    seconds = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        segmenter(image, "all ships")
        seconds.append(time.perf_counter() - start)
    print(f"{min(seconds):.3f} s at least, {np.median(seconds):.3f} s at the median of {arguments.repeats}")
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        segmenter(image, "all ships")
    print(recorded.key_averages().table(sort_by="self_cpu_time_total", row_limit=ROWS))
    print(recorded.key_averages(group_by_input_shape=True).table(sort_by="self_cpu_time_total", row_limit=ROWS))


if __name__ == "__main__":
    main()
