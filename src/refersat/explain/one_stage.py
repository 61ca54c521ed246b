"""Panels of a model that goes from the phrase to the mask in one stage: what it thought of on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from refersat.explain.view import Panel, View
from refersat.painting import MASK

if TYPE_CHECKING:
    from refersat.models.steps import RS2Sam2Steps
    from refersat.result import Result


def one_stage_panels(result: Result, steps: RS2Sam2Steps | None) -> list[Panel]:
    """The image, the model's own hints where it has any, its probabilities, and the mask."""
    height, width = result.mask.shape
    rgb, whole = result.image.rgb, (0, 0, width, height)
    panels = [Panel(View(rgb, whole).picture, "Image", f"{width} x {height} px")]
    if steps is not None and steps.candidates is not None:
        panels.append(
            Panel(
                _heat(rgb, steps.candidates),
                "Candidates",
                "All that looks like the named kind, wherever it is; the rest of the phrase chooses among it.",
            )
        )
    if steps is not None and steps.pseudo_mask is not None:
        cells = " x ".join(map(str, steps.pseudo_mask.shape))
        panels.append(
            Panel(
                _heat(rgb, steps.pseudo_mask),
                "Pseudo-mask",
                f"The mask prompt: where image and phrase agree, {cells} cells, given to the decoder.",
            )
        )
    sure = float(result.probability[result.mask].mean()) if result.mask.any() else 0.0
    panels.append(
        Panel(
            _heat(rgb, result.probability),
            "Probability",
            f"Per pixel, at most {result.probability.max():.2f}; {sure:.2f} on average in the mask.",
        )
    )
    view = View(rgb, whole)
    mask = view.of_image(result.mask)
    view.tint(mask, MASK)
    view.outline(mask, MASK)
    verdict = f"{result.area_px:,} px" if result.present else "Not found, by the model's own rule: the mask is empty."
    return [*panels, Panel(view.picture, "Answer", verdict)]


def _heat(rgb: NDArray[np.uint8], probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities (h, w) that stretch over the image, as colours upon its grey."""
    height, width = rgb.shape[:2]
    view = View(rgb, (0, 0, width, height))
    size = view.picture.shape[1], view.picture.shape[0]
    how = cv2.INTER_AREA if probability.shape[1] > size[0] else cv2.INTER_LINEAR
    fitted = np.clip(cv2.resize(probability.astype(np.float32), size, interpolation=how), 0, 1)[..., None]
    colours = cv2.applyColorMap(np.rint(fitted * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    grey = view.picture.mean(axis=2, keepdims=True)
    share = 0.35 + 0.5 * fitted
    return np.asarray(np.rint(grey * (1 - share) * 0.8 + colours * share), dtype=np.uint8)
