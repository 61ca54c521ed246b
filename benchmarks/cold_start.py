"""Where the seconds go between the start of `refersat predict` and its files, with nothing loaded yet.

Starts the command several times, then a process that does the same steps and looks at the clock after each:

    python benchmarks/cold_start.py [--repeats 5] [--image examples/bridge.tif] [--model FOLDER]

FOLDER is what `refersat export` wrote; the built-in model in PyTorch when left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from refersat.cli.collection import uncollected

if TYPE_CHECKING:
    from refersat.segmenter import Segmenter

IMAGE = Path(__file__).parent.parent / "examples" / "bridge.tif"
PHRASE = "the airplane"


def main() -> None:
    """Measure and print; with --steps, be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, default=IMAGE)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--model", type=Path, help="an export; the built-in model in PyTorch when left out")
    parser.add_argument("--steps", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.steps:
            print(json.dumps(steps(arguments.image, Path(folder), arguments.model)))
            return
        model = ["--model", str(arguments.model)] if arguments.model else []
        words = [sys.executable, "-m", "refersat", "predict", str(arguments.image), "-t", PHRASE, "--out", folder]
        words += model
        whole = [_seconds(words) for _ in range(arguments.repeats)]
        empty = [_seconds([sys.executable, "-c", ""]) for _ in range(arguments.repeats)]
    again = [sys.executable, __file__, "--steps", "--image", str(arguments.image), *model]
    runs = [
        json.loads(subprocess.run(again, check=True, capture_output=True, text=True).stdout)
        for _ in range(arguments.repeats)
    ]
    print(f"seconds, of {arguments.repeats}\n")
    print("| step | least | median |\n|---|---|---|")
    for name, seconds in (
        ("the interpreter", empty),
        *((name, [run[name] for run in runs]) for name in runs[0]),
        ("`refersat predict` as a whole", whole),
    ):
        print(f"| {name} | {min(seconds):.2f} | {median(seconds):.2f} |")


def steps(image: Path, folder: Path, model: Path | None) -> dict[str, float]:
    """What `refersat predict` does, in its order: step -> seconds."""
    marks: dict[str, float] = {}
    last = time.perf_counter()

    def mark(name: str) -> None:
        nonlocal last
        now = time.perf_counter()
        marks[name] = now - last
        last = now

    import refersat.cli.main  # noqa: F401

    mark("imports: the command line")
    from refersat.imagery import read_image

    read = read_image(image)
    mark("imports: NumPy, rasterio; the image read")
    from refersat.answer_files import write_answers

    mark("imports: what writes files")
    with uncollected():
        segmenter = _exported(model, mark) if model else _in_pytorch(mark)
    result = segmenter(read, PHRASE)
    mark("the first answer")
    write_answers([result], str(image), folder / image.stem)
    mark("files written")
    return marks


def _in_pytorch(mark: Callable[[str], None]) -> Segmenter:
    """The built-in model."""
    import torch  # noqa: F401

    mark("imports: PyTorch")
    import transformers.models.sam2.modeling_sam2  # noqa: F401

    mark("imports: the SAM 2 of Transformers")
    import refersat.models.loading  # noqa: F401
    from refersat.segmenter import load

    mark("imports: the rest of refersat")
    segmenter = load("built-in", device="cpu")
    mark("the model built, filled, made fast")
    return segmenter


def _exported(model: Path, mark: Callable[[str], None]) -> Segmenter:
    """What `refersat export` wrote."""
    import onnxruntime  # noqa: F401

    mark("imports: ONNX Runtime")
    import refersat.export.backend  # noqa: F401
    from refersat.segmenter import load

    mark("imports: the rest of refersat")
    segmenter = load(model)
    mark("the graphs opened")
    return segmenter


def _seconds(words: list[str]) -> float:
    """Of a process, from its start to its end."""
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
