"""`refersat bench predict`: how long the built-in model takes from files to files."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat.benchmark.machine import Spread, facts

if TYPE_CHECKING:
    from refersat.segmenter import Segmenter

PHRASES = (
    "all ships", "the ship on the left", "the largest airplane", "the bridge",
    "the harbor at the top", "all vehicles", "the storage tank on the right", "the tennis court",
)  # fmt: skip
SIDE = 512
ROWS = (
    (1, 1, None), (1, 2, None), (1, 4, None), (1, 8, None), (2, 1, None), (4, 1, None), (8, 1, None),
    (32, 1, None), (32, 1, 8),
)  # fmt: skip
"""Images, phrases about each, and questions that go through the model at once: as many as it chooses if None."""


@dataclass(frozen=True)
class Options:
    """What to measure.

    Attributes:
        model: name or folder.
        device: for example cpu or cuda.
        dtype: auto, float32, bfloat16 or int8.
        repeats: of every measurement.
    """

    model: str
    device: str
    dtype: str
    repeats: int


def bench_predict(options: Options, report: Callable[[str], None]) -> dict[str, Any]:
    """Measure the pipeline and the command; the result is for JSON. `report` is told what runs."""
    import refersat

    segmenter = refersat.load(options.model, device=options.device, dtype=options.dtype)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = _images(folder, max(count for count, _, _ in ROWS))
        report("refersat --help")
        helped = _command(["--help"], options.repeats)
        report("refersat predict, process start to file written")
        words = ["predict", str(images[0]), "-t", PHRASES[0], "--out", str(folder / "out"), "--model", options.model]
        words += ["--device", options.device, "--dtype", options.dtype]
        predicted = _command(words, options.repeats)
        segmenter(images[0], PHRASES[0])
        rows = []
        for count, asked, together in ROWS:
            report(f"images: {count}, phrases about each: {asked}" + (f", {together} in one pass" if together else ""))
            rows.append(_row(segmenter, images[:count], PHRASES[:asked], folder, options.repeats, together))
    return {
        "model": options.model,
        "device": str(segmenter.device),
        "dtype": segmenter.number_format,
        "image_side": SIDE,
        "help_seconds": helped.as_dict(),
        "predict_seconds": predicted.as_dict(),
        "throughput": rows,
        "machine": facts(str(segmenter.device)),
    }


def _images(folder: Path, count: int) -> list[Path]:
    """Smooth colours, as PNG files."""
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0)
    paths = []
    for index in range(count):
        coarse = Image.fromarray(noise.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        paths.append(folder / f"image-{index}.png")
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(paths[-1])
    return paths


def _command(words: Sequence[str], repeats: int) -> Spread:
    """A process of its own: from its start to its end."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "refersat", *words], check=True, capture_output=True)
        seconds.append(time.perf_counter() - began)
    return Spread.of(seconds)


def _row(
    segmenter: Segmenter,
    images: Sequence[Path],
    phrases: Sequence[str],
    folder: Path,
    repeats: int,
    together: int | None,
) -> dict[str, Any]:
    """Read, resize, run and write, in this process, with the model loaded."""
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        _answer(segmenter, images, phrases, folder, together)
        seconds.append(time.perf_counter() - began)
    spread = Spread.of(seconds)
    answers = len(images) * len(phrases)
    return {
        "images": len(images),
        "phrases": len(phrases),
        "together": together,
        "seconds": spread.as_dict(),
        "images_per_second": len(images) / spread.median,
        "answers_per_second": answers / spread.median,
    }


def _answer(
    segmenter: Segmenter, images: Sequence[Path], phrases: Sequence[str], folder: Path, together: int | None
) -> None:
    from itertools import islice

    from refersat.answer_files import write_answers

    questions = ((image, phrase) for image in images for phrase in phrases)
    results = segmenter.stream(questions, batch_size=together)
    for image in images:
        write_answers(islice(results, len(phrases)), str(image), folder / f"{image.stem}-answers")
