"""Stage 2 of PSLG-SAM: from boxes in an image to masks, by SAM and the two steps around it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from refersat.box import Box
from refersat.models.prompted.segmenter import PromptedSegmenter, Seen
from refersat.models.pslg.boundary import Refinement, refine_boundary
from refersat.models.pslg.foreground import ForegroundPoint, foreground_point
from refersat.models.pslg.options import PslgOptions

_STABLE = 1.0  # SAM's own: by how much the threshold is raised and lowered to see if the mask stays

_LEAST = 1e-3  # distance to the threshold of a pixel that changed sides, so that no rounding brings it back


@dataclass(frozen=True)
class Seconds:
    """Wall-clock time per box; what is done for several together counts in equal shares."""

    point: float
    sam: float
    boundary: float


@dataclass(frozen=True, eq=False)
class Fine:
    """The mask of one box in an image (H, W), and how it came about.

    Attributes:
        box: in pixels of the image.
        logits: (H, W) float32 on the CPU: SAM's, mirrored at its threshold where the boundary step changed a pixel.
        point: None where it was switched off.
        sam_mask: (H, W) bool, before the boundary step.
        boundary: None where it was switched off.
        seconds: what each step took.
    """

    box: Box
    logits: Tensor
    point: ForegroundPoint | None
    sam_mask: NDArray[np.bool_]
    boundary: Refinement | None
    seconds: Seconds

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool, after all steps."""
        return self.sam_mask if self.boundary is None else self.boundary.mask


class FineStage:
    """Boxes to masks. Nothing of it was trained for the task.

    Args:
        sam: any promptable network.
        options: of the steps around it.
    """

    def __init__(self, sam: PromptedSegmenter, options: PslgOptions | None = None) -> None:
        self.sam = sam
        self.options = options or PslgOptions()

    @torch.inference_mode()
    def see(self, image: NDArray[np.uint8]) -> Seen:
        """What SAM makes of an image, RGB (H, W, 3), to be asked about any number of boxes."""
        return self.sam.see(image)

    @torch.inference_mode()
    def segment(self, image: NDArray[np.uint8], boxes: Tensor, seen: Seen | None = None) -> list[Fine]:
        """One mask for each box; SAM sees the image once.

        Args:
            image: RGB (H, W, 3).
            boxes: (B, 4) float32, x0, y0, x1, y1 from 0 to 1 of the image's width and height.
            seen: what SAM made of the image, where it has seen it already.
        """
        height, width = image.shape[:2]
        scale = boxes.new_tensor([width, height])
        corners: list[Box] = [(x0, y0, x1, y1) for x0, y0, x1, y1 in (boxes * scale.repeat(2)).tolist()]
        found: list[ForegroundPoint] = []
        with _clock() as pointing:
            if self.options.use_point:
                found = [foreground_point(image, box, self.options.point) for box in corners]
        with _clock() as segmenting:
            points = boxes.new_tensor([(point.x, point.y) for point in found]) / scale if found else None
            logits = self.sam.segment(seen or self.sam.see(image), boxes, points).float().cpu()
        share = 1 / len(corners)
        results = []
        for index, box in enumerate(corners):
            whole = F.interpolate(logits[index][None, None], (height, width), mode="bilinear", align_corners=False)[
                0, 0
            ]
            mask = (whole > self.sam.mask_threshold).numpy()
            refinement = None
            with _clock() as refining:
                if self.options.use_boundary:
                    stability = _stability(whole, self.sam.mask_threshold)
                    refinement = refine_boundary(image, mask, self.options.boundary, stability=stability)
            if refinement is not None and refinement.accepted:
                whole = _moved(whole, torch.from_numpy(refinement.mask != mask), self.sam.mask_threshold)
            seconds = Seconds(pointing[0] * share, segmenting[0] * share, refining[0])
            results.append(Fine(box, whole, found[index] if found else None, mask, refinement, seconds))
        return results


def _stability(logits: Tensor, threshold: float) -> float:
    """SAM's stability score: IoU of the masks at a higher and at a lower threshold, of which one holds the other."""
    narrow, wide = (int((logits > threshold + shift).sum()) for shift in (_STABLE, -_STABLE))
    return narrow / wide if wide else 1.0


def _moved(logits: Tensor, changed: Tensor, threshold: float) -> Tensor:
    """Logits whose changed pixels are on the other side of the threshold, as far from it as they were."""
    distance = logits - threshold
    other = -torch.where(distance > 0, distance.clamp(min=_LEAST), distance.clamp(max=-_LEAST))
    return torch.where(changed, threshold + other, logits)


@contextmanager
def _clock() -> Iterator[list[float]]:
    """The time that the block takes, in seconds, as a list's only element once it is over."""
    taken = [0.0]
    began = time.perf_counter()
    yield taken
    taken[0] = time.perf_counter() - began
