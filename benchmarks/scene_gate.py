"""What becomes of tiles in which a model does not trust, by the least score from which they are heard.

python benchmarks/scene_gate.py --nwpu nwpu-vhr10 --dubai dubai
python benchmarks/scene_gate.py --nwpu nwpu-vhr10 --canvases 1 --model built-in

The scenes are those of scene_meaning.py, the phrases those that mean the same in every tile. `--model doubter` stands
for a model that segments without a fault, but trusts only in tiles of which what it marks covers a hundredth, and that
marks something else where the target is not: of both it says that the target is there with a score of 0.3. Least score
1 leaves out every tile below the model's own rule, 0 hears them all where they go on from others; "no rule" takes what
is marked in any tile. See scene_meaning.py for the columns; "right" is not about a choice here, but whether all that is
meant is marked and nothing else of its kind.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from scene_canvases import Canvas, coco_canvases, land_cover_mosaics
from scene_meaning import Row, measure, table
from scene_oracle import Oracle

from refersat.imagery import Image
from refersat.scene.blend import FULL
from refersat.scene.hearing import LEAST_SCORE
from refersat.scene.options import DEFAULT_TILE, SceneOptions
from refersat.scene.reader import SceneReader
from refersat.scene.strategy import Look
from refersat.scene.tiles import Tiles
from refersat.segmenter import Probability, load
from refersat.text.expressions import Expression, sample_expressions
from refersat.text.scope import scene_words

if TYPE_CHECKING:
    from refersat.segmenter import Segmenter

_ENOUGH = 0.01  # of a tile


class Doubter(Oracle):
    """See the module."""

    name = "doubter"

    def probabilities(self, questions: Iterable[tuple[Image, str]], *, batch_size: int | None = None) -> Iterator[Any]:
        """Exact where it trusts in them."""
        for image, phrase in questions:
            mask = self.mask(image.rgb, phrase)
            sure = float(mask.mean()) >= _ENOUGH
            if not mask.any():
                numbers = image.rgb[..., 1].astype(np.uint16) << 8 | image.rgb[..., 2]
                counts = np.bincount(numbers.ravel())
                counts[0] = 0
                mask = (numbers == counts.argmax()) & (counts.max() > 0)
            yield Probability(mask.astype(np.float32), sure, 0.9 if sure else 0.3)


class Recorded:
    """Asks a model once, and answers the same the next times."""

    def __init__(self, model: Segmenter) -> None:
        self.threshold = model.threshold
        self.gate = True
        self._model = model
        self._answers: list[Probability] = []
        self._complete, self._next = False, 0

    def probabilities(self, questions: Iterable[tuple[Image, str]], *, batch_size: int | None = None) -> Iterator[Any]:
        """The model's; all present where there is no gate."""
        if not self._complete:
            for answer in self._model.probabilities(questions, batch_size=batch_size):
                self._answers.append(replace(answer, values=answer.values.astype(np.float16)))
                yield answer
            return
        for _ in questions:
            answer = self._answers[self._next]
            self._next += 1
            yield replace(answer, values=answer.values.astype(np.float32), present=answer.present or not self.gate)

    def rewind(self) -> None:
        """The same questions come again."""
        self._complete, self._next = True, 0


def main() -> None:
    """Ask once, and put the answers together by each rule."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nwpu", type=Path, help="holds val.json and images/")
    parser.add_argument("--dubai", type=Path, help="holds images/ and masks/")
    parser.add_argument("--model", default="doubter", help="doubter, a model's name or its folder")
    parser.add_argument("--canvases", type=int, default=3, help="of each kind, at most (default: 3)")
    parser.add_argument("--tile", type=int, default=DEFAULT_TILE)
    parser.add_argument("--least-scores", type=float, nargs="+", default=[1.0, LEAST_SCORE, 0.1, 0.0])
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    model = None if asked.model == "doubter" else load(asked.model)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for canvas in _canvases(asked, rng):
            expressions = _expressions(canvas, rng)
            photo, labels = canvas.save(Path(folder))
            recorded = Recorded(model or cast("Segmenter", Doubter(canvas.categories)))
            phrases = [one.phrase for one in expressions]
            options = SceneOptions(strategy="tile", tile=asked.tile)
            with SceneReader(photo if model else labels, stretch="none") as reader:
                look = Look(reader, cast("Segmenter", recorded), phrases, options)
                for name, least in [
                    *((f"least score {least:g}", least) for least in asked.least_scores),
                    ("no rule", 0),
                ]:
                    recorded.gate = name != "no rule"
                    masks = _masks(Tiles.tiled(look, least_score=least), recorded.threshold)
                    recorded.rewind()
                    rows += [measure(canvas, one, name, mask) for one, mask in zip(expressions, masks, strict=True)]
            print(f"{canvas.name}: {len(phrases)} phrases", flush=True)
    print(table(rows))


def _canvases(asked: argparse.Namespace, rng: np.random.Generator) -> Iterator[Canvas]:
    if asked.nwpu:
        yield from coco_canvases(asked.nwpu, asked.canvases, rng)
    if asked.dubai:
        yield from land_cover_mosaics(asked.dubai, asked.canvases)


def _expressions(canvas: Canvas, rng: np.random.Generator) -> Sequence[Expression]:
    """All of a kind, and what is not there."""
    height, width = canvas.labels.shape
    drawn = sample_expressions(
        canvas.objects,
        width,
        height,
        rng,
        count=60,
        weights={"group": 3.0, "absent-category": 1.0},
        vocabulary=canvas.categories,
    )
    return list({one.meaning: one for one in drawn if not scene_words(one.phrase)}.values())


def _masks(tiles: Tiles, threshold: float) -> NDArray[np.bool_]:
    bands = tiles.bands(0, lambda _: None)
    return np.concatenate([band.probability > threshold * FULL for band in bands], axis=1)


if __name__ == "__main__":
    main()
