"""The answers worth looking at: the best, the worst, some at random, and what was painted where nothing was named.

Which ones they are follows from the rows alone. Their pictures exist only while the model's answer is in memory, so
each process keeps those that belong to the `KEPT` foremost of what it has seen itself: a case that is foremost of all
is foremost of any part that it is in. When all is done, the pictures of the others are removed.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from refersat.evaluation.progress import Folders
    from refersat.evaluation.rows import SampleRow
    from refersat.evaluation.run import Answer

KEPT = 12
"""Cases of each kind."""

LONGEST_SIDE = 320  # pixels of a thumbnail

_JPEG_QUALITY = 88
_SEEN_AT = 0.25  # a thumbnail's pixel is foreground from this share on, so that small objects do not vanish

Rank = tuple[float | str, ...]


@dataclass(frozen=True, eq=False)
class Case:
    """One sample with its picture.

    Attributes:
        id, phrase, type, category: of the sample.
        score: in [0, 1], that the target is there, as the model says.
        iou: in 0..1 under the first protocol; None where the phrase names nothing.
        image: uint8 (h, w, 3), the longer side at most `LONGEST_SIDE`.
        truth: bool (h, w); None where the phrase names nothing.
        prediction: bool (h, w).
        probability: float32 (h, w) in [0, 1].
    """

    id: str
    phrase: str
    type: str
    category: str | None
    score: float
    iou: float | None
    image: NDArray[np.uint8]
    truth: NDArray[np.bool_] | None
    prediction: NDArray[np.bool_]
    probability: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Cases:
    """The cases of an evaluation, the most telling first.

    Attributes:
        best, worst: by IoU under the first protocol.
        random: any samples.
        false_alarms: phrases that name nothing for which most of the image was painted.
    """

    best: tuple[Case, ...]
    worst: tuple[Case, ...]
    random: tuple[Case, ...]
    false_alarms: tuple[Case, ...]


def _chance(row: SampleRow) -> str:
    """The same for a sample in every run, and as good as random."""
    return hashlib.sha256(f"{row.dataset}/{row.id}".encode()).hexdigest()


def _rules(protocol: str) -> dict[str, Callable[[SampleRow], Rank | None]]:
    """For each kind of case what to sort by, the lowest first; None for a sample that is no such case."""

    def overlap(row: SampleRow, sign: int) -> Rank | None:
        value = row.iou(protocol)
        return None if value is None else (sign * value, _chance(row))

    return {
        "best": lambda row: overlap(row, -1),
        "worst": lambda row: overlap(row, 1),
        "random": lambda row: (_chance(row),),
        "false_alarms": lambda row: (
            (-row.predicted_area / row.pixels, _chance(row)) if row.absent and row.predicted_area else None
        ),
    }


class CaseKeeper:
    """Decides for one answer after the other whether its picture is worth keeping.

    Args:
        protocol: whose IoU counts.
    """

    def __init__(self, protocol: str) -> None:
        self._rules = _rules(protocol)
        self._foremost: dict[str, list[Rank]] = {kind: [] for kind in self._rules}

    def picture(self, answer: Answer) -> bytes | None:
        """The picture of an answer that belongs to the foremost of some kind, as `draw` makes it, else None."""
        wanted = False
        for kind, rule in self._rules.items():
            rank = rule(answer.row)
            foremost = self._foremost[kind]
            if rank is not None and (len(foremost) < KEPT or rank < foremost[-1]):
                bisect.insort(foremost, rank)
                del foremost[KEPT:]
                wanted = True
        return draw(answer) if wanted else None


def draw(answer: Answer) -> bytes:
    """Image, truth, prediction and probability at the size of a thumbnail, as the content of a file."""
    result = answer.result
    height, width = result.mask.shape
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))

    def small(values: NDArray[np.generic]) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(values.astype(np.float32), size, interpolation=cv2.INTER_AREA))

    image = np.rint(small(result.image.rgb)).astype(np.uint8)
    truth = np.zeros(image.shape[:2], np.bool_) if answer.truth is None else small(answer.truth) >= _SEEN_AT
    masks = np.stack(
        [truth * 255, (small(result.mask) >= _SEEN_AT) * 255, np.rint(small(result.probability) * 255)], -1
    )
    jpeg = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
    png = cv2.imencode(".png", masks.astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 3])[1]
    file = BytesIO()
    np.savez(file, image=jpeg, masks=png)
    return file.getvalue()


def mask_png(mask: NDArray[np.bool_]) -> bytes:
    """A mask (H, W) as the content of a PNG file, 0 and 255."""
    return cv2.imencode(".png", mask.astype(np.uint8) * 255)[1].tobytes()


def collect_cases(folders: Folders, rows: Sequence[SampleRow], protocol: str) -> Cases:
    """The cases among all rows, with the pictures that were kept; a case whose picture was removed is left out.

    Pictures that are no longer needed are removed.
    """
    chosen: dict[str, list[SampleRow]] = {}
    for kind, rule in _rules(protocol).items():
        ranked = sorted((rank, row.number, row) for row in rows if (rank := rule(row)) is not None)
        chosen[kind] = [row for _, _, row in ranked[:KEPT]]
    needed = {folders.case(row) for members in chosen.values() for row in members}
    for file in folders.cases.glob("*.npz"):
        if file not in needed:
            file.unlink()
    found = {
        kind: tuple(_read(folders.case(row), row, protocol) for row in members if folders.case(row).is_file())
        for kind, members in chosen.items()
    }
    return Cases(**found)


def _read(file: Path, row: SampleRow, protocol: str) -> Case:
    with np.load(file) as content:
        image = cv2.imdecode(content["image"], cv2.IMREAD_COLOR)
        masks = cv2.imdecode(content["masks"], cv2.IMREAD_COLOR)
    assert image is not None and masks is not None
    return Case(
        id=row.id,
        phrase=row.phrase,
        type=row.type,
        category=row.category,
        score=row.score,
        iou=row.iou(protocol),
        image=np.ascontiguousarray(image[..., ::-1], dtype=np.uint8),
        truth=None if row.absent else masks[..., 0] > 0,
        prediction=masks[..., 1] > 0,
        probability=(masks[..., 2] / np.float32(255)).astype(np.float32),
    )
