"""Panels of PSLG-SAM: the box, the colours and regions in it, the point, SAM's mask, each cut, the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from refersat.box import hull, mask_box
from refersat.explain.view import Colour, Panel, View
from refersat.models.pslg.window import Window
from refersat.painting import MASK

if TYPE_CHECKING:
    from refersat.models.pslg.boundary import Refinement
    from refersat.models.pslg.fine import Fine
    from refersat.models.pslg.foreground import ForegroundPoint
    from refersat.models.pslg.system import PslgSteps
    from refersat.result import Result

_BOX: Colour = (70, 200, 255)
_POINT: Colour = (255, 70, 50)
_WHITE: Colour = (255, 255, 255)
_OPEN: Colour = (255, 205, 60)
_CHOSEN: Colour = (80, 220, 120)
_REGIONS: tuple[Colour, ...] = ((110, 150, 255), (255, 170, 80), (190, 120, 255), (80, 210, 210), (240, 130, 160))
_DROPPED: Colour = (130, 130, 130)
_LABELS = 12  # regions whose convexity is written into the picture, the largest first


def two_stage_panels(result: Result, steps: PslgSteps) -> list[Panel]:
    """One panel for each step."""
    fine = steps.fine
    panels = [_box_panel(result, steps)]
    if fine.point is not None:
        panels += _point_panels(result, fine, fine.point)
    panels.append(_sam_panel(result, fine))
    if fine.boundary is not None:
        panels += _boundary_panels(result, fine.boundary)
    return [*panels, _answer_panel(result, fine)]


def _box_panel(result: Result, steps: PslgSteps) -> Panel:
    height, width = result.mask.shape
    view = View(result.image.rgb, (0, 0, width, height))
    for box in steps.boxes or (steps.fine.box,):
        view.box(box, _BOX)
    x0, y0, x1, y1 = steps.fine.box
    others = f", the first of {len(steps.boxes)} that become masks" if len(steps.boxes) > 1 else ""
    there = "there" if steps.score >= steps.threshold else "not there"
    return Panel(
        view.picture,
        f"Box, score {steps.score:.2f}",
        f"{x1 - x0:.0f} x {y1 - y0:.0f} px{others}, in {steps.grounding_seconds:.2f} s. From {steps.threshold:.2f} on "
        f"the target counts as there: it is {there}.",
    )


def _point_panels(result: Result, fine: Fine, point: ForegroundPoint) -> list[Panel]:
    rgb, window = result.image.rgb, _corners(point.window)
    panels = []
    if point.foreground is not None:
        view = View(rgb, window)
        inside = view.of_window(point.foreground)
        view.dim(~inside)
        view.outline(inside, _WHITE, 1)
        share = float(point.foreground.mean())
        panels.append(
            Panel(view.picture, "Two colours", f"k-means of the box's pixels: {share:.0%} are taken for the object's.")
        )
    if point.regions is not None and point.candidates:
        panels.append(_regions_panel(result, point))
    view = View(rgb, _around(result, fine))
    if point.regions is not None and point.chosen:
        chosen = View(rgb, window)
        chosen.outline(chosen.of_window(point.regions == point.chosen), _CHOSEN)
        view = chosen
    view.box(fine.box, _BOX)
    view.point(point.x, point.y, _POINT)
    detail = f"The {point.reason}; at {point.x:.1f}, {point.y:.1f}, in {1000 * fine.seconds.point:.0f} ms."
    return [*panels, Panel(view.picture, "Point", detail)]


def _regions_panel(result: Result, point: ForegroundPoint) -> Panel:
    assert point.regions is not None
    view = View(result.image.rgb, _corners(point.window))
    view.dim(view.of_window(point.regions == 0))
    passed = 0
    for region in point.candidates:
        shape = view.of_window(point.regions == region.label)
        passed += region.large_enough
        colour = _REGIONS[region.label % len(_REGIONS)] if region.large_enough else _DROPPED
        view.tint(shape, _CHOSEN if region.label == point.chosen else colour, 0.6)
    for region in sorted(point.candidates, key=lambda region: -region.area)[:_LABELS]:
        if region.large_enough or region.label == point.chosen:
            rows, columns = np.nonzero(point.regions == region.label)
            place = point.window.to_image(float(columns.mean()) + 0.5, float(rows.mean()) + 0.5)
            view.label(f"{region.convexity:.2f}", *place)
    count = len(point.candidates)
    detail = "One region after opening and watershed, with its convexity."
    if count > 1:
        detail = f"{count} after opening and watershed, with their convexity; green is chosen."
        if passed < count:
            detail += f" {count - passed} too small, grey."
    return Panel(view.picture, "Region" if count == 1 else "Regions", detail)


def _sam_panel(result: Result, fine: Fine) -> Panel:
    view = View(result.image.rgb, _around(result, fine))
    mask = view.of_image(fine.sam_mask)
    view.tint(mask, MASK)
    view.outline(mask, MASK)
    view.box(fine.box, _BOX)
    if fine.point is not None:
        view.point(fine.point.x, fine.point.y, _POINT)
    prompts = "the box" if fine.point is None else "box and point"
    area = np.count_nonzero(fine.sam_mask)
    return Panel(view.picture, "SAM's mask", f"From {prompts}: {area:,} px, in {fine.seconds.sam:.2f} s.")


def _boundary_panels(result: Result, boundary: Refinement) -> list[Panel]:
    if boundary.window is None or boundary.sure is None:
        return []
    panels = []
    before = boundary.window.view_mask(boundary.given)
    for number, iteration in enumerate(boundary.iterations, start=1):
        view = View(result.image.rgb, _corners(boundary.window))
        view.dim(view.of_window(boundary.sure == 0), 0.55)
        view.tint(view.of_window(boundary.sure == 2), _OPEN, 0.35)
        view.outline(view.of_window(before), _WHITE, 1)
        view.outline(view.of_window(iteration.mask), MASK)
        detail = f"White before, magenta after: IoU {iteration.iou:.3f}. Yellow is where the boundary may lie."
        panels.append(Panel(view.picture, f"Boundary, cut {number}", detail))
        before = iteration.mask
    return panels


def _answer_panel(result: Result, fine: Fine) -> Panel:
    view = View(result.image.rgb, _around(result, fine))
    mask = view.of_image(result.mask)
    view.tint(mask, MASK)
    view.outline(mask, MASK)
    if not result.present:
        return Panel(view.picture, "Answer: not found", "The box's score is too low: the mask is empty.")
    if fine.boundary is None:
        return Panel(view.picture, "Answer", f"{result.area_px:,} px: SAM's mask, the boundary step is switched off.")
    boundary = fine.boundary
    numbers = ""
    if boundary.iterations:
        numbers = f" IoU with SAM's {boundary.iou:.2f}, area x {boundary.ratio:.2f}, contrast x {boundary.gain:.2f}, "
        numbers += f"colours {boundary.parting:+.2f} apart."
    what = "the boundary moved" if boundary.accepted else "SAM's mask"
    return Panel(
        view.picture,
        f"Answer: {what}",
        f"{result.area_px:,} px. Boundary step {boundary.reason}, {1000 * fine.seconds.boundary:.0f} ms.{numbers}",
    )


def _around(result: Result, fine: Fine) -> tuple[int, int, int, int]:
    """The part of the image that shows the box and, where it is not much larger, SAM's mask."""
    box = fine.box
    if fine.sam_mask.any():
        box = hull([box, mask_box(fine.sam_mask)])
    margin = max(6.0, 0.15 * max(box[2] - box[0], box[3] - box[1]))
    return _corners(Window.around(box, result.mask.shape, margin=margin, longest=1))


def _corners(window: Window) -> tuple[int, int, int, int]:
    return window.left, window.top, window.right, window.bottom
