"""A model that needs neither weights nor PyTorch, for batches in processes of their own, and a run that can be killed.

python -m tests.batch.stand_in CATALOGUE OUT local|ray [--address ADDRESS] [--resume] [--workers N]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

SECONDS = "STAND_IN_SECONDS"
"""In the environment: how long each answer takes."""

DEADLY = "deadly"
"""In the name of an image: the process dies at work on it."""


class StandIn:
    """Stands for a `Segmenter`: bright pixels are the target, nobody finds a "unicorn", nobody survives "deadly"."""

    name = "stand-in"
    threshold = 0.5
    folder = None

    def __init__(self) -> None:
        self.device: Any = argparse.Namespace(type="cpu")
        self.number_format = "float32"
        self.asked = 0

    def stream(self, questions: Iterable[tuple[Any, str]], **options: Any) -> Iterator[Any]:
        from refersat.result import Result

        for image, phrase in questions:
            if DEADLY in str(image.path):
                os.kill(os.getpid(), signal.SIGKILL)
            self.asked += 1
            seconds = float(os.environ.get(SECONDS, "0"))
            time.sleep(seconds)
            present = "unicorn" not in phrase
            probability = image.rgb.mean(axis=2, dtype=np.float32) / np.float32(255)
            mask = (probability > 0.5) & present
            yield Result(image, phrase, self.name, mask, probability, 0.875, present and bool(mask.any()), seconds)

    def probabilities(self, questions: Iterable[tuple[Any, str]], **options: Any) -> Iterator[Any]:
        from refersat.segmenter import Probability

        for image, phrase in questions:
            yield Probability(image.rgb[..., 1] * np.float32(1 / 255), "unicorn" not in phrase, 0.875)


def load(job: Any) -> StandIn:
    """Leaves a file with the number of this process, which tests kill."""
    (job.out.parent / "pids").mkdir(exist_ok=True)
    (job.out.parent / "pids" / str(os.getpid())).touch()
    return StandIn()


def write_images(folder: Path, count: int, *, side: int = 48) -> None:
    """Dark images with a bright rectangle each, in UTM with pixels of one metre."""
    import rasterio
    from affine import Affine

    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        values = np.full((3, side, side), 20, np.uint8)
        values[:, number % 20 : 30, 5 : 10 + number % 30] = 230
        place = Affine(1, 0, 500_000 + 100 * number, 0, -1, 5_700_000)
        shape = {"width": side, "height": side, "count": 3, "dtype": "uint8"}
        with rasterio.open(
            folder / f"image-{number:03}.tif", "w", driver="GTiff", crs="EPSG:32631", transform=place, **shape
        ) as target:
            target.write(values)


def run(catalogue: str, out: Path, engine: str, mode: Any = None, **cluster: Any) -> Any:
    """A batch with the stand-in; its summary."""
    from refersat.batch.catalogue import read_catalogue
    from refersat.batch.job import Job
    from refersat.batch.on_ray import Cluster
    from refersat.batch.run import make_engine, run_batch

    def watch(outcomes: Iterator[Any], rows: int, before: int) -> None:
        for outcome in outcomes:
            sys.stderr.write(f"{outcome.name} {outcome.error}\n")

    rows = read_catalogue(catalogue, () if catalogue.endswith(".csv") else ("the square", "the unicorn"))
    job = Job(out, model="stand-in", load=load, kind="image")
    with_engine = make_engine(engine, Cluster(**cluster), say=lambda line: sys.stderr.write(f"{line}\n"))
    return run_batch(rows, job, with_engine, mode=mode, watch=watch)


def main() -> None:
    """One run in this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("catalogue")
    parser.add_argument("out", type=Path)
    parser.add_argument("engine")
    parser.add_argument("--address")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--workers", type=int)
    asked = parser.parse_args()
    from refersat.batch.run import Mode
    from refersat.errors import UserError
    from tests.batch import (
        stand_in,  # so that Ray's workers find `load` in a module that they can import, and not in this one
    )

    cluster = {"address": asked.address, "workers": asked.workers} if asked.engine == "ray" else {}
    try:
        stand_in.run(asked.catalogue, asked.out, asked.engine, Mode(resume=asked.resume), **cluster)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
