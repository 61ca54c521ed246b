"""Asks a grounder about samples: a row for each, from which the scores of boxes and of presence are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from refersat.data.target_box import box_of_sample
from refersat.evaluation.boxes import BoxTally
from refersat.evaluation.metrics import size_class
from refersat.evaluation.presence import auroc
from refersat.imagery import read_image
from refersat.text.phrase_type import classify

if TYPE_CHECKING:
    from refersat.box import Box
    from refersat.data.samples import Sample
    from refersat.models.grounding.grounder import Grounder


@dataclass(frozen=True)
class BoxRow:
    """The answer to one sample.

    Attributes:
        id: of the sample.
        box: the answer, in pixels.
        score: in 0..1, that the target is there.
        truth: in pixels; None where the phrase names nothing.
        pixels: of the image.
        type: kind of phrase.
        category: kind of object, if known.
    """

    id: str
    box: Box
    score: float
    truth: Box | None
    pixels: int
    type: str
    category: str | None


def ground_samples(
    grounder: Grounder, samples: Sequence[Sample], *, on_sample: Callable[[], None] = lambda: None
) -> Iterator[BoxRow]:
    """The answers in the order of the samples; phrases about one image in a row are asked together.

    Raises:
        UserError: an image or mask cannot be read, or they are of different sizes.
    """
    for image, group in groupby(samples, key=lambda sample: sample.image):
        asked = list(group)
        rgb = read_image(image).rgb
        height, width = rgb.shape[:2]
        found = grounder.ground(rgb, [sample.phrase for sample in asked])
        for sample, (x0, y0, x1, y1), score in zip(asked, found.boxes.tolist(), found.scores.tolist(), strict=True):
            yield BoxRow(
                id=sample.id,
                box=(x0 * width, y0 * height, x1 * width, y1 * height),
                score=score,
                truth=box_of_sample(sample, (height, width)),
                pixels=height * width,
                type=sample.type or classify(sample.phrase),
                category=sample.category,
            )
            on_sample()


@dataclass
class BoxEvaluation:
    """Rows and what follows from them."""

    rows: list[BoxRow] = field(default_factory=list)

    def result(self) -> dict[str, Any]:
        """The numbers of `BoxTally`, overall and `by_type`, `by_size` (of the box) and `by_category`, and `presence`.

        `presence` has `presence_auroc` in percent, None where one side is empty, `count_present` and `count_absent`.
        """
        overall = BoxTally()
        groups: dict[str, dict[str, BoxTally]] = {"by_type": {}, "by_size": {}, "by_category": {}}
        present: list[float] = []
        absent: list[float] = []
        for row in self.rows:
            if row.truth is None:
                absent.append(row.score)
                continue
            present.append(row.score)
            overall.add(row.box, row.truth)
            x0, y0, x1, y1 = row.truth
            names = {
                "by_type": row.type,
                "by_size": size_class((x1 - x0) * (y1 - y0) / row.pixels),
                "by_category": row.category,
            }
            for grouping, name in names.items():
                if name is not None:
                    groups[grouping].setdefault(name, BoxTally()).add(row.box, row.truth)
        area = auroc(present, absent)
        return {
            **overall.result(),
            **{key: {name: group[name].result() for name in sorted(group)} for key, group in groups.items() if group},
            "presence": {
                "presence_auroc": None if area is None else 100 * area,
                "count_present": len(present),
                "count_absent": len(absent),
            },
        }
