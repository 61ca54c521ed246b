"""The foreground point generator of PSLG-SAM: where in a box the object itself is, by clustering its colours.

Source: Li et al., arXiv 2506.10503, stage 2. From the paper: crop the box, k-means++ with two clusters on the pixels,
distance transform and watershed to split regions that touch, drop the small ones, take the most convex one; its
centre is one positive point. Every choice that it leaves open is a field of `PointOptions`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from refersat.models.pslg.window import Window

_WEAKEST = 1e-6  # Lab units; clusters nearer than that are one


class PointOptions(BaseModel):
    """The choices of the foreground point generator that the paper leaves open."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    smallest_box: float = Field(8.0, ge=0, description="side in pixels below which the point is the box's centre")
    longest_side: int = Field(256, ge=16, description="boxes with more pixels along a side are shrunk to that many")
    median: int = Field(3, ge=1, le=7, description="side of the median filter before the clustering, odd; 1: none")
    samples: int = Field(4096, ge=16, description="pixels, evenly spread, from which the two colours are learned")
    restarts: int = Field(3, ge=1, description="runs of k-means++, of which the best counts")
    least_contrast: float = Field(
        2.3, ge=0, description="distance of the two colours in CIELAB below which the point is the box's centre"
    )
    foreground: Literal["touching", "border"] = Field(
        "touching",
        description="which of the two colours is the object's. touching: the one that has the smaller share of its own "
        "pixels on the crop's border; border: the one that has fewer of the border's pixels",
    )
    opening: int = Field(3, ge=1, description="side of the square that opens the foreground; 1: none")
    marker_level: float = Field(
        0.5, gt=0, lt=1, description="watershed markers are what is deeper than this share of the greatest depth"
    )
    least_area: float = Field(16.0, ge=0, description="regions of fewer pixels are dropped")
    least_share: float = Field(0.05, ge=0, le=1, description="regions that cover less of the box are dropped")
    seed: int = Field(0, ge=0, description="of k-means++")


@dataclass(frozen=True)
class Region:
    """One part of the foreground.

    Attributes:
        label: its number in `ForegroundPoint.regions`.
        area: pixels of the view.
        convexity: area / area of its convex hull, 0..1.
        large_enough: whether it was a candidate.
    """

    label: int
    area: int
    convexity: float
    large_enough: bool


@dataclass(frozen=True, eq=False)
class ForegroundPoint:
    """The point, and how it was found.

    Attributes:
        x, y: in pixels of the image, where the upper left pixel covers 0..1; inside the box and the image.
        reason: which rule gave it, in words.
        window: the pixels that were looked at. The following are of its view (h, w), and None where the rule that gave
            the point needed none.
        foreground: (h, w) bool, the cluster that is taken for the object, before the opening.
        regions: (h, w) int32, 0 where no region is, else its label.
        candidates: the regions, from left to right and top to bottom.
        chosen: label of the region whose point it is; 0 when no region gave it.
    """

    x: float
    y: float
    reason: str
    window: Window
    foreground: NDArray[np.bool_] | None = None
    regions: NDArray[np.int32] | None = None
    candidates: tuple[Region, ...] = ()
    chosen: int = 0


def foreground_point(
    image: NDArray[np.uint8], box: Sequence[float], options: PointOptions | None = None
) -> ForegroundPoint:
    """One point on the object in a box. The same arguments give the same point, always.

    Args:
        image: (H, W, 3) RGB.
        box: x0, y0, x1, y1 in pixels; may lie over the image's border.
        options: the paper's open choices.
    """
    options = options or PointOptions()
    window = Window.around(box, image.shape, longest=options.longest_side)
    left, right = _clipped(box[0], box[2], image.shape[1])
    top, bottom = _clipped(box[1], box[3], image.shape[0])
    centre = (left + right) / 2, (top + bottom) / 2
    if min(right - left, bottom - top) < options.smallest_box:
        return ForegroundPoint(*centre, f"centre: the box is narrower than {options.smallest_box:g} px", window)
    foreground, contrast = _cluster(window.view(image), options)
    if foreground is None:
        return ForegroundPoint(*centre, f"centre: the box has one colour (contrast {contrast:.1f})", window)
    regions = _split(_opened(foreground, options.opening), options.marker_level)
    least = max(options.least_area, options.least_share * regions.size)
    candidates = _measure(regions, least)
    if not candidates:
        return ForegroundPoint(*centre, "centre: the foreground has no region", window, foreground, regions)
    passed = [region for region in candidates if region.large_enough]
    if passed:
        best = max(passed, key=lambda region: (round(region.convexity, 6), region.area))
    else:
        best = max(candidates, key=lambda region: region.area)
    column, row, how = _middle(regions == best.label)
    x, y = window.to_image(column + 0.5, row + 0.5)
    what = "the most convex region" if passed else f"the largest region, as none has {least:.0f} px"
    return ForegroundPoint(
        x=min(max(x, left), right),
        y=min(max(y, top), bottom),
        reason=f"{how} of {what}",
        window=window,
        foreground=foreground,
        regions=regions,
        candidates=candidates,
        chosen=best.label,
    )


def _clipped(low: float, high: float, size: int) -> tuple[float, float]:
    """The part of a stretch from 0 to `size`; its nearest end where there is none."""
    first = min(max(float(low), 0.0), float(size))
    return first, min(max(float(high), first), float(size))


def _cluster(view: NDArray[np.uint8], options: PointOptions) -> tuple[NDArray[np.bool_] | None, float]:
    """The object's cluster (h, w), None when there is one colour only; and how far the two are apart."""
    smooth = cv2.medianBlur(view, options.median | 1) if options.median > 1 else view
    lab = cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    pixels = lab.reshape(-1, 3)
    if len(pixels) < 2:
        return None, 0.0
    sample = np.ascontiguousarray(pixels[_evenly(len(pixels), options.samples)])
    # OpenCV draws the first centres from a generator of its own.
    cv2.setRNGSeed(options.seed)
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 20, 0.5)
    _, _, centres = cv2.kmeans(sample, 2, None, stop, options.restarts, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    contrast = float(np.linalg.norm(centres[0] - centres[1]))
    if contrast < max(options.least_contrast, _WEAKEST):
        return None, contrast
    # Nearer to the second centre than to the first: a plane through the middle between them.
    axis = centres[1] - centres[0]
    second = (lab @ axis) > float((centres[0] + centres[1]) @ axis) / 2
    return (second if _is_foreground(second, options.foreground) else ~second), contrast


def _is_foreground(cluster: NDArray[np.bool_], rule: str) -> bool:
    """Whether this cluster of two is the object; a tie goes to the one in the middle."""
    border = np.concatenate([cluster[0], cluster[-1], cluster[1:-1, 0], cluster[1:-1, -1]])
    own, other = np.count_nonzero(border), border.size - np.count_nonzero(border)
    if rule == "touching":  # shares, multiplied out: either may have no pixel of its own
        own, other = own * np.count_nonzero(~cluster), other * np.count_nonzero(cluster)
    return bool(own < other or (own == other and cluster[cluster.shape[0] // 2, cluster.shape[1] // 2]))


def _evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most `most` of the numbers below `count`, spread by the golden ratio so that no row or column is preferred."""
    if count <= most:
        return np.arange(count)
    return (np.arange(most) * 0.6180339887498949 % 1.0 * count).astype(np.int64)


def _opened(foreground: NDArray[np.bool_], side: int) -> NDArray[np.uint8]:
    """Without specks and threads: 0 and 1."""
    plain = foreground.astype(np.uint8)
    if side == 1:
        return plain
    opened: NDArray[np.uint8] = cv2.morphologyEx(plain, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))  # type: ignore[assignment]
    return opened


def _split(foreground: NDArray[np.uint8], marker_level: float) -> NDArray[np.int32]:
    """Regions (h, w) of a foreground (h, w) of 0 and 1: parts that hang together by a neck are apart."""
    # A frame of background: objects cut by the crop have their depth from there, too, and the watershed, which marks
    # the outermost pixels as its own, takes none of theirs.
    framed = np.pad(foreground, 1)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, cv2.DIST_MASK_5)
    greatest = float(depth.max())
    if greatest == 0:
        return np.zeros(foreground.shape, np.int32)
    _, markers = cv2.connectedComponents((depth > marker_level * greatest).astype(np.uint8))
    # Label 1 is the background, 0 what is to be flooded. The surface is the foreground itself: level inside, a cliff at
    # its edge, so that each marker floods at the same pace and two meet in the neck between them. Parts without a
    # marker, which are thin beside the thickest, end as background.
    labels = np.where(markers > 0, markers + 1, np.where(framed > 0, 0, 1)).astype(np.int32)
    surface = np.repeat((framed * np.uint8(255))[..., None], 3, axis=2)
    cv2.watershed(surface, labels)
    inside = labels[1:-1, 1:-1]
    return np.where((inside > 1) & (foreground > 0), inside - 1, 0).astype(np.int32)


def _measure(regions: NDArray[np.int32], least_area: float) -> tuple[Region, ...]:
    found = []
    count = int(regions.max(initial=0))
    for label in range(1, count + 1):
        shape = (regions == label).astype(np.uint8)
        area = int(np.count_nonzero(shape))
        if area:
            found.append(Region(label, area, area / _hull_area(shape), area >= least_area))
    return tuple(found)


def _hull_area(shape: NDArray[np.uint8]) -> int:
    """Pixels of the convex hull of the pixels' centres: at least the shape's own."""
    outlines, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    hull = cv2.convexHull(np.concatenate(outlines))
    filled = shape.copy()
    cv2.fillConvexPoly(filled, hull, 1)
    return int(np.count_nonzero(filled))


def _middle(shape: NDArray[np.bool_]) -> tuple[int, int, str]:
    """Column and row of the shape's centre, or of its deepest pixel where the centre lies outside of it."""
    rows, columns = np.nonzero(shape)
    row, column = round(float(rows.mean())), round(float(columns.mean()))
    if shape[row, column]:
        return column, row, "centre"
    depth = cv2.distanceTransform(np.pad(shape.astype(np.uint8), 1), cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    row, column = (int(place) for place in np.unravel_index(int(depth.argmax()), depth.shape))
    return column, row, "deepest pixel"
