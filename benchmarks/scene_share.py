"""How much of `refersat scene`'s time goes into the model, and how much into all else.

python benchmarks/scene_share.py orthophoto.tif -t "all vehicles" --nodata 0

Counted is processor time, on one thread for the model and one that reads ahead, so that other work on the machine does
not count. "In the model" is what the segmenter does with a tile: resizing it, the network, and the answer's pixels. All
else is opening, reading and stretching, blending, writing, outlining.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from refersat.scene.options import SceneOptions
from refersat.scene.scene import Scene
from refersat.segmenter import Probability, Segmenter, load


class Clocked:
    """A segmenter that counts its seconds."""

    def __init__(self, model: Segmenter) -> None:
        self.seconds = 0.0
        self.answers = 0
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def probabilities(
        self, questions: Iterable[tuple[Any, str]], *, batch_size: int | None = None
    ) -> Iterator[Probability]:
        """The model's; what is done to find the questions does not count."""
        answers = self._model.probabilities(self._asked(questions), batch_size=batch_size)
        while True:
            began = time.thread_time()
            answer = next(answers, None)
            self.seconds += time.thread_time() - began
            if answer is None:
                return
            self.answers += 1
            yield answer

    def _asked(self, questions: Iterable[tuple[Any, str]]) -> Iterator[tuple[Any, str]]:
        source = iter(questions)
        while True:
            began = time.thread_time()
            question = next(source, None)
            self.seconds -= time.thread_time() - began
            if question is None:
                return
            yield question


def main() -> None:
    """Run twice, as the first run loads libraries, and print the second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("-t", "--text", action="append", required=True, metavar="PHRASE")
    parser.add_argument("--model", default="built-in")
    parser.add_argument("--nodata", type=float)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = load(asked.model, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        run(asked, model, SceneOptions(strategy="whole"), folder)
        run(asked, model, SceneOptions(strategy="tile"), folder, show=True)


def run(asked: argparse.Namespace, model: Segmenter, options: SceneOptions, folder: str, *, show: bool = False) -> None:
    """One run, and what it took."""
    clocked: Any = Clocked(model)
    began = time.process_time()
    with Scene(asked.scene, nodata=asked.nodata) as scene:
        scene.segment(asked.text, folder, segmenter=clocked, options=options)
        pixels = scene.reader.width * scene.reader.height
    total = time.process_time() - began
    if show:
        print("| scene | answers | processor seconds | in the model | all else | Mpx per processor second |")
        print("|---|---|---|---|---|---|")
        share = f"{clocked.seconds:.1f} | {total - clocked.seconds:.1f} ({1 - clocked.seconds / total:.0%})"
        print(
            f"| {scene.reader.width} x {scene.reader.height} | {clocked.answers} | {total:.1f} | {share} | "
            f"{pixels / total / 1e6:.2f} |"
        )


if __name__ == "__main__":
    main()
