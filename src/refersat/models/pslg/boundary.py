"""The iterative mask boundary optimization of PSLG-SAM: SAM's outline is moved to where the colours change.

Source: Li et al., arXiv 2506.10503, stage 2. From the paper: the eroded mask is surely foreground, what lies well
outside surely background, a colour mixture is learned of each, a minimum cut places the boundary between them, and
this repeats until it stays (GrabCut; Rother et al., SIGGRAPH 2004). Every choice that the paper leaves open is a field
of `BoundaryOptions`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from refersat.box import mask_box
from refersat.models.pslg.window import Window

_SIDES = 3  # pixels of the view on each side of a boundary whose colours are compared


class BoundaryOptions(BaseModel):
    """The choices of the boundary optimization that the paper leaves open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    radius: float = Field(
        0.02, ge=0, description="the boundary may move by this share of the square root of the mask's area, at least 1"
    )
    margin: float = Field(0.25, ge=0, description="background seen on each side, as a share of the mask's box")
    least_margin: int = Field(8, ge=1, description="and at least so many pixels of it")
    longest_side: int = Field(256, ge=32, description="views with more pixels along a side are shrunk to that many")
    iterations: int = Field(5, ge=1, description="at most so many minimum cuts")
    converged: float = Field(0.995, ge=0, le=1, description="IoU of a mask with the one before from which it stays")
    least_area: int = Field(16, ge=1, description="masks of fewer pixels are left alone")
    least_stability: float = Field(
        0.85, ge=0, le=1, description="a mask of which SAM is not as sure (its stability score) is left alone"
    )
    least_iou: float = Field(0.8, ge=0, le=1, description="a mask that overlaps SAM's less is refused")
    least_ratio: float = Field(0.7, ge=0, le=1, description="a mask smaller than this share of SAM's is refused")
    greatest_ratio: float = Field(1.4, ge=1, description="a mask larger than this multiple of SAM's is refused")
    least_gain: float = Field(
        1.0,
        ge=0,
        description="a mask is refused unless the image changes along its boundary so many times as much as along "
        "SAM's; 0: any will do",
    )
    least_parting: float = Field(
        0.1,
        description="a mask is refused unless the colours inside and outside of its boundary lie further apart than "
        "SAM's, by so many of their deviations; -1000: any will do",
    )
    seed: int = Field(0, ge=0, description="of the colour mixtures")


@dataclass(frozen=True, eq=False)
class Iteration:
    """One minimum cut.

    Attributes:
        mask: (h, w) bool after it, in the view.
        iou: with the mask before it, 0..1.
    """

    mask: NDArray[np.bool_]
    iou: float


@dataclass(frozen=True, eq=False)
class Refinement:
    """The mask, and how it came about.

    Attributes:
        given: (H, W) bool, the mask to begin with.
        mask: (H, W) bool; the given one, unless `accepted`.
        accepted: whether the boundary was moved.
        reason: why, or why not, in words.
        iou: of the last iteration's mask with the given one, 0..1; 1 without iterations.
        ratio: of their areas; 1 without iterations.
        gain: how much more the image changes along its boundary than along that of the given one, as a factor; 1
            without iterations.
        parting: how much further apart the colours on the two sides of its boundary are, in deviations; 0 without
            iterations.
        window: the pixels that were looked at; None where nothing was. The following are of its view (h, w).
        sure: (h, w) uint8: 0 sure background, 1 sure foreground, 2 what was open.
        iterations: in their order.
    """

    given: NDArray[np.bool_]
    mask: NDArray[np.bool_]
    accepted: bool
    reason: str
    iou: float = 1.0
    ratio: float = 1.0
    gain: float = 1.0
    parting: float = 0.0
    window: Window | None = None
    sure: NDArray[np.uint8] | None = None
    iterations: tuple[Iteration, ...] = ()


def refine_boundary(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    options: BoundaryOptions | None = None,
    *,
    stability: float = 1.0,
) -> Refinement:
    """Move a mask's boundary to where the colours change, or leave it. The same arguments give the same mask, always.

    Args:
        image: (H, W, 3) RGB.
        mask: (H, W) bool, for example SAM's.
        options: the paper's open choices.
        stability: of the mask, from 0 to 1: where SAM itself does not know the object, its colours lead astray.
    """
    options = options or BoundaryOptions()
    if stability < options.least_stability:
        reason = f"refused: stability {stability:.2f} of SAM's mask is below {options.least_stability:g}"
        return Refinement(mask, mask, False, reason)
    area = int(np.count_nonzero(mask))
    if area < options.least_area:
        return Refinement(mask, mask, False, f"the mask has fewer than {options.least_area} px")
    window = _window(mask, options)
    view, start = window.view(image), window.view_mask(mask)
    across, down = window.scale
    radius = max(1, round(options.radius * np.sqrt(area * across * down)))
    if not start.any() or start.all():
        return Refinement(mask, mask, False, "there is no background, or no foreground, to learn from")
    sure = _sure(start, radius)
    iterations = _cut(view, start, sure, options)
    refined = _joined(mask, start, iterations[-1].mask, window)
    inside = window.crop(mask)
    iou, new_area = _iou(inside, refined), int(np.count_nonzero(refined))
    ratio = new_area / area
    gain = _gain(view, start, iterations[-1].mask)
    parting = _apart(view, iterations[-1].mask) - _apart(view, start)
    refusal = _refusal(iou, ratio, gain, parting, options)
    whole = mask
    if refusal is None:
        whole = mask.copy()
        whole[window.top : window.bottom, window.left : window.right] = refined
    count = len(iterations)
    return Refinement(
        given=mask,
        mask=whole,
        accepted=refusal is None,
        reason=refusal or f"accepted after {count} cut{'s' if count > 1 else ''}",
        iou=iou,
        ratio=ratio,
        gain=gain,
        parting=parting,
        window=window,
        sure=sure,
        iterations=iterations,
    )


def _window(mask: NDArray[np.bool_], options: BoundaryOptions) -> Window:
    box = mask_box(mask)
    margin = max(options.least_margin, options.margin * max(box[2] - box[0], box[3] - box[1]))
    return Window.around(box, mask.shape, margin=margin, longest=options.longest_side)


def _sure(start: NDArray[np.bool_], radius: int) -> NDArray[np.uint8]:
    """0 surely background, 1 surely foreground, 2 open: what is nearer than `radius` to the boundary."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    plain = start.astype(np.uint8)
    # A mask that ends with the image goes on behind it: nothing is eroded there.
    core = cv2.erode(plain, disc, borderType=cv2.BORDER_REPLICATE)
    reach = cv2.dilate(plain, disc, borderType=cv2.BORDER_REPLICATE)
    return np.where(core > 0, 1, np.where(reach > 0, 2, 0)).astype(np.uint8)


def _cut(
    view: NDArray[np.uint8], start: NDArray[np.bool_], sure: NDArray[np.uint8], options: BoundaryOptions
) -> tuple[Iteration, ...]:
    """Minimum cuts, one by one, until the mask stays."""
    open_labels = np.where(start, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    labels = np.choose(
        sure, [np.full_like(open_labels, cv2.GC_BGD), np.full_like(open_labels, cv2.GC_FGD), open_labels]
    )
    labels = labels.astype(np.uint8)
    background, foreground = np.zeros((1, 65)), np.zeros((1, 65))
    # OpenCV draws the first centres of the mixtures from a generator of its own.
    cv2.setRNGSeed(options.seed)
    iterations: list[Iteration] = []
    before = start
    for number in range(options.iterations):
        mode = cv2.GC_EVAL if number else cv2.GC_INIT_WITH_MASK
        cv2.grabCut(view, labels, None, background, foreground, 1, mode)  # type: ignore[call-overload]
        after = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
        iterations.append(Iteration(after, _iou(before, after)))
        before = after
        if iterations[-1].iou >= options.converged or not after.any():
            break
    return tuple(iterations)


def _joined(
    mask: NDArray[np.bool_], start: NDArray[np.bool_], end: NDArray[np.bool_], window: Window
) -> NDArray[np.bool_]:
    """The mask in the window's own pixels, changed where its view was: shrinking alone moves no boundary."""
    inside = window.crop(mask).astype(np.bool_)
    if inside.shape == end.shape:
        return end
    gained, lost = window.unview_mask(end & ~start), window.unview_mask(start & ~end)
    return (inside | gained) & ~lost


def _gain(view: NDArray[np.uint8], start: NDArray[np.bool_], end: NDArray[np.bool_]) -> float:
    """How much more the image changes along the end's boundary than along the start's, as a factor."""
    smooth = cv2.GaussianBlur(view, (0, 0), 1).astype(np.float32)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    change = np.sqrt((across * across + down * down).sum(axis=2))
    before, after = (float(change[edge].mean()) if edge.any() else 0.0 for edge in map(_boundary, (start, end)))
    return after / before if before else (math.inf if after else 1.0)


def _boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pixels on both sides of a mask's boundary."""
    plain, square = mask.astype(np.uint8), np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(plain, square) != cv2.erode(plain, square))


def _apart(view: NDArray[np.uint8], mask: NDArray[np.bool_]) -> float:
    """How far apart the colours just inside and just outside of a mask are on average, in deviations around that."""
    square = np.ones((2 * _SIDES + 1, 2 * _SIDES + 1), np.uint8)
    plain = mask.astype(np.uint8)
    inside, outside = view[mask & (cv2.erode(plain, square) == 0)], view[~mask & (cv2.dilate(plain, square) > 0)]
    if not len(inside) or not len(outside):
        return 0.0
    spread = inside.var(axis=0).sum() + outside.var(axis=0).sum() + 1  # 1: no more is known of whole grey levels
    return float(np.linalg.norm(inside.mean(axis=0) - outside.mean(axis=0)) / np.sqrt(spread))


def _refusal(iou: float, ratio: float, gain: float, parting: float, options: BoundaryOptions) -> str | None:
    if iou < options.least_iou:
        return f"refused: IoU {iou:.2f} with SAM's mask is below {options.least_iou:g}"
    if not options.least_ratio <= ratio <= options.greatest_ratio:
        return f"refused: {ratio:.2f} times SAM's area is not {options.least_ratio:g} to {options.greatest_ratio:g}"
    if gain < options.least_gain:
        return f"refused: {gain:.2f} times the contrast along SAM's boundary is below {options.least_gain:g}"
    if parting < options.least_parting:
        return f"refused: inside and outside are {parting:+.2f} deviations further apart, not {options.least_parting:g}"
    return None


def _iou(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    union = int(np.count_nonzero(one | other))  # type: ignore[operator]
    return int(np.count_nonzero(one & other)) / union if union else 1.0  # type: ignore[operator]
