"""The paper's experiment on PSLG-SAM's stage 2: box only, + point, + boundary step, both; and what the step does alone.

python benchmarks/pslg_steps.py nwpu-vhr10/val.json --stand-in grabcut --limit 100 --out out/pslg-steps
python benchmarks/pslg_steps.py triplets:probe --model built-in-pslg --one-stage built-in --out out/probe

DATA is an instances file (COCO; the images in `images` beside it), of which each object is a case with its true box;
or KIND:PATH of `refersat evaluate`, of which each phrase that names something is one, with its true box and, with
`--grounder`, with the box that this finds; where the grounder tells objects apart, also with a box for each.
`--model` names a PSLG-SAM and stands for its `--sam` and `--grounder`; `--one-stage` measures another model on the same
cases. Three tables go to stdout as markdown, and to OUT/pslg_steps.json:

1. the four variants: mIoU, oIoU, Pr@t, and milliseconds of each step per case. `--stand-in` takes no SAM but a rule:
   "ellipse" is the ellipse in the box, "grabcut" OpenCV's GrabCut of the box. Their numbers say nothing about SAM.
2. the boundary step alone on the true masks, made worse in five ways by 3 % of the square root of their area: if it
   ever makes masks worse on average does not depend on which network drew them. "truth" is the true mask itself, which
   nothing can make better.
3. how often the foreground point is on the target, and how often the box's centre is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

import refersat
from refersat.box import Box, mask_box
from refersat.data.coco import read_coco
from refersat.data.sources import read_samples
from refersat.evaluation.metrics import IouTally, iou, overlap
from refersat.imagery import read_image
from refersat.models.grounding.loading import load_grounder
from refersat.models.loading import locate
from refersat.models.prompted.loading import load_prompted
from refersat.models.prompted.segmenter import Seen
from refersat.models.pslg.boundary import BoundaryOptions, refine_boundary
from refersat.models.pslg.fine import FineStage
from refersat.models.pslg.folder import network_folders
from refersat.models.pslg.foreground import PointOptions, foreground_point
from refersat.models.pslg.options import PslgOptions
from refersat.models.pslg.window import Window

if TYPE_CHECKING:
    from refersat.models.grounding.grounder import Grounder
    from refersat.models.prompted.segmenter import PromptedSegmenter
    from refersat.segmenter import Segmenter

Mask = NDArray[np.bool_]
VARIANTS = ("box only", "+ point", "+ boundary", "both")
STEP = 0.03  # by how much a true mask is made worse, as a share of the square root of its area


@dataclass(frozen=True)
class Case:
    """A target (H, W) in an image (H, W, 3), and the phrase that names it, where there is one."""

    image: NDArray[np.uint8]
    truth: Mask
    phrase: str | None


def read_cases(source: str, split: str, limit: int) -> Iterator[Case]:
    """The first `limit` cases of an instances file or of a data set; in images' order."""
    count = 0
    for case in _objects(Path(source)) if source.endswith(".json") else _samples(source, split):
        if not case.truth.any():
            continue
        yield case
        count += 1
        if count == limit:
            return


def _objects(path: Path) -> Iterator[Case]:
    for item in read_coco(path).images:
        image = read_image(path.parent / "images" / item.file_name).rgb
        for number in range(len(item.objects)):
            yield Case(image, item.mask([number]), None)


def _samples(source: str, split: str) -> Iterator[Case]:
    for sample in read_samples(source, split=split).samples:
        if sample.load_mask is not None:
            yield Case(read_image(sample.image).rgb, sample.load_mask(), sample.phrase)


class StandIn:
    """A rule in SAM's place: the ellipse in the box, or OpenCV's GrabCut of the box, to which a point is foreground."""

    mask_threshold = 0.0

    def __init__(self, rule: str) -> None:
        self.network: nn.Module = nn.Identity()
        self.mask_decoder: nn.Module = self.network
        self._rule = rule
        self._image = np.zeros((1, 1, 3), np.uint8)

    def see(self, image: NDArray[np.uint8]) -> Seen:
        """Keep the image."""
        self._image = image
        return Seen(())

    def segment(self, seen: Seen, boxes: Tensor, points: Tensor | None = None) -> Tensor:
        """Logits (B, H, W), 4 inside and -4 outside."""
        height, width = self._image.shape[:2]
        corners = (boxes * boxes.new_tensor([width, height] * 2)).tolist()
        places = None if points is None else (points * points.new_tensor([width, height])).tolist()
        masks = []
        for number, (x0, y0, x1, y1) in enumerate(corners):
            if self._rule == "ellipse":
                masks.append(_ellipse((x0, y0, x1, y1), height, width))
            else:
                masks.append(_grabcut(self._image, (x0, y0, x1, y1), None if places is None else places[number]))
        return torch.from_numpy(np.where(np.stack(masks), np.float32(4), np.float32(-4)))


def _ellipse(box: Box, height: int, width: int) -> Mask:
    rows, columns = np.mgrid[:height, :width] + 0.5
    across, down = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half_width, half_height = max(box[2] - box[0], 1) / 2, max(box[3] - box[1], 1) / 2
    return np.asarray(((columns - across) / half_width) ** 2 + ((rows - down) / half_height) ** 2 <= 1)


def _grabcut(image: NDArray[np.uint8], box: Box, point: list[float] | None) -> Mask:
    """Of a crop twice as large as the box: outside of it is background."""
    margin = max(8.0, 0.5 * max(box[2] - box[0], box[3] - box[1]))
    left, top = (max(0, int(low - margin)) for low in box[:2])
    right, bottom = (min(size, int(high + margin) + 1) for high, size in zip(box[2:], image.shape[1::-1], strict=True))
    crop = np.ascontiguousarray(image[top:bottom, left:right])
    labels = np.full(crop.shape[:2], cv2.GC_BGD, np.uint8)
    labels[int(box[1]) - top : int(np.ceil(box[3])) - top, int(box[0]) - left : int(np.ceil(box[2])) - left] = (
        cv2.GC_PR_FGD
    )
    if point is not None:
        cv2.circle(labels, (int(point[0]) - left, int(point[1]) - top), 2, cv2.GC_FGD, -1)
    mask = np.zeros(image.shape[:2], np.bool_)
    if (labels == cv2.GC_BGD).any() and (labels != cv2.GC_BGD).any():
        cv2.setRNGSeed(0)
        cv2.grabCut(crop, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    mask[top:bottom, left:right] = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    return mask


@dataclass
class Row:
    """One line of the first table."""

    tally: IouTally = field(default_factory=IouTally)
    seconds: list[tuple[float, float, float]] = field(default_factory=list)

    def numbers(self) -> dict[str, Any]:
        """Metrics in percent, milliseconds per case."""
        point, sam, boundary = (1000 * float(np.mean(part)) for part in zip(*self.seconds, strict=True))
        return {**self.tally.result(), "ms point": point, "ms SAM": sam, "ms boundary": boundary}


def variants(case: Case, boxes: Tensor, stages: tuple[FineStage, FineStage], rows: dict[str, Row]) -> None:
    """Count the four variants of one case; the stages are without and with the point, both with the boundary step.

    Of several boxes it is the union of the masks.
    """
    for stage, (plain, refined) in zip(stages, (("box only", "+ boundary"), ("+ point", "both")), strict=True):
        parts = stage.segment(case.image, boxes)
        point, sam, moved = (
            sum(getattr(part.seconds, step) for part in parts) for step in ("point", "sam", "boundary")
        )
        before = np.logical_or.reduce([part.sam_mask for part in parts])
        after = np.logical_or.reduce([part.mask for part in parts])
        for name, mask, boundary in ((plain, before, 0.0), (refined, after, moved)):
            rows[name].tally.add(*overlap(mask, case.truth))
            rows[name].seconds.append((point, sam, boundary))


def true_box(case: Case) -> Tensor:
    """(1, 4) in shares of the image."""
    height, width = case.truth.shape
    return torch.tensor([mask_box(case.truth)]) / torch.tensor([width, height, width, height])


def nearby(case: Case) -> Case:
    """The part of the image around the target that the boundary step can look at."""
    box = mask_box(case.truth)
    margin = max(32.0, 0.5 * max(box[2] - box[0], box[3] - box[1]))
    window = Window.around(box, case.truth.shape, margin=margin, longest=1)
    part = slice(window.top, window.bottom), slice(window.left, window.right)
    return Case(np.ascontiguousarray(case.image[part]), np.ascontiguousarray(case.truth[part]), case.phrase)


def worsened(truth: Mask, number: int) -> dict[str, Mask]:
    """The mask made worse in five ways; `number` makes chance repeatable."""
    radius = max(1, round(STEP * float(np.sqrt(truth.sum()))))
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    plain = truth.astype(np.uint8)
    depth = cv2.distanceTransform(plain, cv2.DIST_L2, 5) - cv2.distanceTransform(1 - plain, cv2.DIST_L2, 5)
    noise = np.random.default_rng(number).standard_normal(truth.shape).astype(np.float32)
    waves = cv2.GaussianBlur(noise, (0, 0), 3 * radius)
    return {
        "truth": truth,
        "dilated": cv2.dilate(plain, element) > 0,
        "eroded": cv2.erode(plain, element) > 0,
        "shifted": _shifted(truth, radius),
        "wavy": depth + waves / max(float(waves.std()), 1e-9) * 1.2 * radius > 0,
        "blunt": cv2.GaussianBlur(plain.astype(np.float32), (0, 0), 2 * radius) > 0.5,
    }


def _shifted(truth: Mask, by: int) -> Mask:
    moved = np.zeros_like(truth)
    moved[by:, by:] = truth[:-by, :-by]
    return moved


@dataclass
class Alone:
    """The boundary step on masks of one kind."""

    before: IouTally = field(default_factory=IouTally)
    after: IouTally = field(default_factory=IouTally)
    changes: list[float] = field(default_factory=list)
    accepted: int = 0

    def add(self, case: Case, rough: Mask, options: BoundaryOptions) -> None:
        """Count one mask."""
        done = refine_boundary(case.image, rough, options)
        before, after = overlap(rough, case.truth), overlap(done.mask, case.truth)
        self.before.add(*before)
        self.after.add(*after)
        self.changes.append(iou(*after) - iou(*before))
        self.accepted += done.accepted

    def numbers(self) -> dict[str, Any]:
        """Percent; better and worse are shares of the masks that changed by more than a point."""
        before, after, changes = self.before.result(), self.after.result(), np.array(self.changes)
        return {
            "mIoU before": before["mIoU"],
            "mIoU after": after["mIoU"],
            "oIoU before": before["oIoU"],
            "oIoU after": after["oIoU"],
            "accepted": 100 * self.accepted / len(changes),
            "better": 100 * float((changes > 0.01).mean()),
            "worse": 100 * float((changes < -0.01).mean()),
        }


def point_hits(case: Case) -> dict[str, bool]:
    """Which points are on the target: the generator's by each of its rules, and the box's centre."""
    box = mask_box(case.truth)
    places: dict[str, tuple[float, float]] = {"box's centre": ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)}
    for rule in ("touching", "border"):
        found = foreground_point(case.image, box, PointOptions(foreground=rule))
        places[f"foreground point, rule {rule}"] = found.x, found.y
    bottom, right = (size - 1 for size in case.truth.shape)
    return {name: bool(case.truth[min(int(y), bottom), min(int(x), right)]) for name, (x, y) in places.items()}


def markdown(title: str, rows: dict[str, dict[str, Any]]) -> str:
    """A table with a line for each row."""
    columns = list(next(iter(rows.values())))
    lines = [f"| {title} | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, numbers in rows.items():
        cells = (f"{value:.2f}" if isinstance(value, float) else str(value) for value in numbers.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def measure(
    cases: Iterator[Case],
    sam: PromptedSegmenter,
    grounder: Grounder | None,
    one_stage: Segmenter | None,
    tell: Callable[[int], None],
    *,
    steps_alone: bool = True,
) -> dict[str, Any]:
    """All three tables as plain values, the last two unless only the first is wanted."""
    stages = (FineStage(sam, PslgOptions(use_point=False)), FineStage(sam))
    places = ["true box"] + (["predicted box", "predicted boxes"] if grounder else [])
    rows = {place: {name: Row() for name in VARIANTS} for place in places}
    alone_stage = Row()
    alone: dict[str, Alone] = {}
    hits: dict[str, list[bool]] = {}
    options = BoundaryOptions()
    for number, case in enumerate(cases):
        variants(case, true_box(case), stages, rows["true box"])
        if grounder and case.phrase:
            found = grounder.ground(case.image, [case.phrase])
            variants(case, found.boxes, stages, rows["predicted box"])
            if found.parts is not None:
                variants(case, found.parts[0], stages, rows["predicted boxes"])
        if one_stage and case.phrase:
            began = time.perf_counter()
            answer = one_stage(case.image, case.phrase)
            alone_stage.tally.add(*overlap(answer.mask, case.truth))
            alone_stage.seconds.append((0.0, time.perf_counter() - began, 0.0))
        if steps_alone:
            near = nearby(case)
            for kind, rough in worsened(near.truth, number).items():
                alone.setdefault(kind, Alone()).add(near, rough, options)
            for name, hit in point_hits(case).items():
                hits.setdefault(name, []).append(hit)
        tell(number + 1)
    if not rows["true box"]["both"].seconds:
        sys.exit("there is nothing to measure: no case has a target")
    variants_found = {
        place: {name: row.numbers() for name, row in each.items() if row.seconds} for place, each in rows.items()
    }
    if alone_stage.seconds:
        variants_found["one stage"] = {"one stage": alone_stage.numbers()}
    return {
        "variants": variants_found,
        "boundary step alone": {kind: each.numbers() for kind, each in alone.items()},
        "points on the target": {name: {"percent": 100 * float(np.mean(each))} for name, each in hits.items()},
    }


def main() -> None:
    """Measure, print, and keep the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA", help="INSTANCES.json or KIND:PATH")
    parser.add_argument("--split", default="all")
    parser.add_argument("--sam", type=Path, metavar="FOLDER", help="SAM 2, SAM, or one of ours")
    parser.add_argument("--stand-in", choices=("ellipse", "grabcut"), help="a rule in SAM's place")
    parser.add_argument("--grounder", metavar="FOLDER|NAME", help="finds the predicted boxes; needs phrases")
    parser.add_argument("--model", metavar="FOLDER|NAME", help="a PSLG-SAM, for its SAM and its grounder")
    parser.add_argument("--one-stage", metavar="FOLDER|NAME", help="another model to measure on the same cases")
    parser.add_argument("--variants-alone", action="store_true", help="only the first table")
    parser.add_argument("--limit", type=int, default=0, help="so many cases; 0: all")
    parser.add_argument("--every", type=int, default=1, help="only every so manieth case")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where pslg_steps.json goes")
    words = parser.parse_args()
    if words.model:
        parts = network_folders(locate(words.model)[0])
        words.sam, words.grounder = parts["sam"], parts["grounder"]
    if (words.sam is None) == (words.stand_in is None):
        parser.error("give --model, or either --sam or --stand-in")
    device = torch.device(words.device)
    sam: PromptedSegmenter = load_prompted(words.sam, device=device) if words.sam else StandIn(words.stand_in)
    grounder = load_grounder(words.grounder, device=device) if words.grounder else None
    one_stage = refersat.load(words.one_stage, device=words.device) if words.one_stage else None

    def tell(number: int) -> None:
        if number % 10 == 0:
            print(f"{number} cases", file=sys.stderr, flush=True)

    cases = islice(read_cases(words.data, words.split, words.limit), 0, None, words.every)
    found = measure(cases, sam, grounder, one_stage, tell, steps_alone=not words.variants_alone)
    name = words.model or (words.sam.name if words.sam else f'stand-in "{words.stand_in}" (not a SAM)')
    for place, rows in found["variants"].items():
        if rows:
            print(markdown(f"{name}, {place}", rows), end="\n\n")
    if not words.variants_alone:
        print(markdown("boundary step alone on", found["boundary step alone"]), end="\n\n")
        print(markdown("on the target", found["points on the target"]))
    if words.out:
        words.out.mkdir(parents=True, exist_ok=True)
        content = {"data": words.data, "segmenter": name, "grounder": grounder is not None, **found}
        (words.out / "pslg_steps.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
