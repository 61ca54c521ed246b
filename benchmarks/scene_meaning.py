"""What strategies make of phrases about large scenes, where the truth is known.

python benchmarks/scene_meaning.py --nwpu nwpu-vhr10 --dubai dubai --model oracle --out runs/scene-meaning
python benchmarks/scene_meaning.py --nwpu nwpu-vhr10 --dubai dubai --model built-in --canvases 2 --out runs/built-in

Scenes: canvases with nine images of NWPU VHR-10's val.json, and tiles of "Semantic segmentation of aerial imagery"
(Humans in the Loop, MBRSC) whose nine parts are put together. Phrases are generated for the whole scene. `--model
oracle` stands for a model that segments whatever it sees without a fault, but takes each tile for the whole: what is
then lost is the strategy's. Writes results.json and prints a table:

- mIoU: mean IoU of the phrases that name something;
- right: share of all phrases whose mask marks (covers a quarter of) the objects that are meant and no others of the
  scene; for a phrase that names nothing, no object;
- false/Mpx: regions of 16 pixels or more without a pixel of what is meant, per megapixel of scene and phrase.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from scene_canvases import Canvas, coco_canvases, land_cover_mosaics
from scene_oracle import Oracle

from refersat.evaluation.metrics import IouTally, overlap
from refersat.scene.blend import FULL
from refersat.scene.options import DEFAULT_TILE, SceneOptions
from refersat.scene.reader import SceneReader
from refersat.scene.strategy import Look, make_strategy
from refersat.text.expressions import Expression, sample_expressions
from refersat.text.scope import scene_words

if TYPE_CHECKING:
    from refersat.segmenter import Segmenter

_WEIGHTS = {"unique": 1.0, "group": 2.0, "position": 4.0, "extreme": 2.0, "size": 2.0, "relation": 2.0,
            "absent-category": 1.0}  # fmt: skip
_COVERED = 0.25  # of an object, for it to be marked
_LEAST_REGION = 16  # pixels


@dataclass(frozen=True)
class Row:
    """One phrase, answered by one strategy."""

    scene: str
    megapixels: float
    phrase: str
    kind: str
    about_scene: bool
    strategy: str
    names_something: bool
    intersection: int
    union: int
    right: bool
    false_regions: int


def main() -> None:
    """Answer all phrases with all strategies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nwpu", type=Path, help="holds val.json and images/")
    parser.add_argument("--dubai", type=Path, help="holds images/ and masks/")
    parser.add_argument("--model", default="oracle", help="oracle, a model's name or its folder")
    parser.add_argument("--canvases", type=int, default=6, help="of each kind, at most (default: 6)")
    parser.add_argument("--phrases", type=int, default=20, help="for each canvas (default: 20)")
    parser.add_argument("--strategies", default="whole,tile,auto", help="(default: whole,tile,auto)")
    parser.add_argument("--tile", type=int, default=DEFAULT_TILE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(arguments.seed)
    rows: list[Row] = []
    model = None if arguments.model == "oracle" else _load(arguments.model)
    for canvas in _canvases(arguments, rng):
        expressions = _expressions(canvas, arguments.phrases, rng)
        photo, labels = canvas.save(arguments.out)
        segmenter = model or cast("Segmenter", Oracle(canvas.categories))
        for strategy in arguments.strategies.split(","):
            options = SceneOptions(strategy=strategy, tile=arguments.tile)
            with SceneReader(photo if model else labels, stretch="none") as reader:
                masks = _masks(Look(reader, segmenter, [one.phrase for one in expressions], options))
            rows += [measure(canvas, one, strategy, mask) for one, mask in zip(expressions, masks, strict=True)]
            print(f"{canvas.name}: {strategy} done, {len(expressions)} phrases", flush=True)
        _write(arguments.out / "results.json", vars(arguments), rows)
    print(table(rows))


def _load(name: str) -> Segmenter:
    from refersat.segmenter import load

    return load(name)


def _canvases(arguments: argparse.Namespace, rng: np.random.Generator) -> Iterator[Canvas]:
    if arguments.nwpu:
        yield from coco_canvases(arguments.nwpu, arguments.canvases, rng)
    if arguments.dubai:
        yield from land_cover_mosaics(arguments.dubai, arguments.canvases)


def _expressions(canvas: Canvas, count: int, rng: np.random.Generator) -> list[Expression]:
    """Phrases about the canvas, none of them a paraphrase of another."""
    height, width = canvas.labels.shape
    drawn = sample_expressions(
        canvas.objects, width, height, rng, count=4 * count, weights=_WEIGHTS, vocabulary=canvas.categories
    )
    return list({one.meaning: one for one in drawn}.values())[:count]


def _masks(look: Look) -> NDArray[np.bool_]:
    """Masks (P, H, W) of a look's phrases."""
    threshold = look.segmenter.threshold if look.options.threshold is None else look.options.threshold
    bands = make_strategy(look)[1].bands(0, lambda _: None)
    return np.concatenate([band.probability > threshold * FULL for band in bands], axis=1)


def measure(canvas: Canvas, expression: Expression, strategy: str, mask: NDArray[np.bool_]) -> Row:
    """The row of a mask (H, W) that answers a phrase about a canvas."""
    truth = canvas.truth(expression.targets)
    intersection, union = overlap(mask, truth)
    numbers = canvas.labels & 0xFFFF
    sizes = np.bincount(numbers.ravel(), minlength=len(canvas.objects) + 1)
    marked = np.bincount(numbers[mask], minlength=len(canvas.objects) + 1)
    # Objects of other kinds may lie in what is meant: a bridge in the water.
    own = {k + 1 for k, item in enumerate(canvas.objects) if item.category == expression.category}
    chosen = {int(k) - 1 for k in np.flatnonzero(marked > _COVERED * sizes) if k in own}
    count, regions = cv2.connectedComponents(mask.astype(np.uint8))
    large = np.bincount(regions.ravel(), minlength=count) >= _LEAST_REGION
    hit = np.bincount(regions[truth], minlength=count) > 0
    return Row(
        scene=canvas.name,
        megapixels=mask.size / 1e6,
        phrase=expression.phrase,
        kind=expression.kind,
        about_scene=bool(scene_words(expression.phrase)),
        strategy=strategy,
        names_something=bool(expression.targets),
        intersection=int(intersection),
        union=int(union),
        right=chosen == set(expression.targets) and (bool(expression.targets) or not mask.any()),
        false_regions=int((large & ~hit)[1:].sum()),
    )


def table(rows: Sequence[Row]) -> str:
    """The rows by kind of scene, by what the phrases are about and by strategy, as markdown."""
    lines = ["| scenes | phrases | strategy | count | mIoU | right % | false/Mpx |", "|---|---|---|---|---|---|---|"]
    kinds = list(dict.fromkeys(row.scene.partition("-")[0] for row in rows))
    for scenes in kinds:
        for about, words in ((True, "about the scene"), (False, "local")):
            for strategy in dict.fromkeys(row.strategy for row in rows):
                some = [
                    row
                    for row in rows
                    if (row.scene.partition("-")[0], row.about_scene, row.strategy) == (scenes, about, strategy)
                ]
                if some:
                    lines.append(f"| {scenes} | {words} | {strategy} | {' | '.join(_numbers(some))} |")
    return "\n".join(lines)


def _numbers(rows: Sequence[Row]) -> tuple[str, ...]:
    tally = IouTally()
    for row in rows:
        if row.names_something:
            tally.add(row.intersection, row.union)
    iou = f"{tally.result()['mIoU']:.1f}" if tally.count else "-"
    right = 100 * sum(row.right for row in rows) / len(rows)
    false = sum(row.false_regions for row in rows) / sum(row.megapixels for row in rows)
    return str(len(rows)), iou, f"{right:.0f}", f"{false:.2f}"


def _write(path: Path, arguments: dict[str, Any], rows: Sequence[Row]) -> None:
    about = {name: str(value) for name, value in arguments.items()}
    path.write_text(json.dumps({"arguments": about, "rows": [asdict(row) for row in rows]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
