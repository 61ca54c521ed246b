"""Random views of an image together with the outlines of its objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refersat.data.coco import CocoImage
from refersat.training.recipe import AugmentOptions

SMALLEST_OBJECT = 20.0
"""Square pixels of the view; less of an object than this is not one."""


@dataclass(frozen=True)
class SceneView:
    """Pixels (H, W, 3) uint8 and the objects that lie in them, in the same pixels."""

    pixels: NDArray[np.uint8]
    scene: CocoImage


@dataclass(frozen=True)
class Frame:
    """Which part of an image a view shows, and how it lies.

    Attributes:
        window: x0, y0, x1, y1 in pixels.
        mirrored: left to right.
        turns: quarters, counter-clockwise, after that.
    """

    window: tuple[int, int, int, int]
    mirrored: bool
    turns: int

    def pixels(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Of an image (H, W, 3)."""
        x0, y0, x1, y1 = self.window
        shown = image[y0:y1, x0:x1]
        return np.rot90(shown[:, ::-1] if self.mirrored else shown, self.turns)

    def scene(self, scene: CocoImage) -> CocoImage:
        """The objects that lie in it, in its pixels."""
        x0, y0, x1, y1 = self.window
        width, height = x1 - x0, y1 - y0
        matrix = np.array([[1.0, 0.0, -x0], [0.0, 1.0, -y0], [0.0, 0.0, 1.0]])
        if self.mirrored:
            matrix = np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) @ matrix
        for _ in range(self.turns):  # (x, y) -> (y, width - x)
            matrix = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, width], [0.0, 0.0, 1.0]]) @ matrix
            width, height = height, width
        return scene.warped(matrix[:2], width, height, min_area=SMALLEST_OBJECT)


def random_view(
    image: NDArray[np.uint8], scene: CocoImage, options: AugmentOptions, rng: np.random.Generator
) -> SceneView:
    """Crop, flip, turn and recolour at random."""
    frame = random_frame(scene, options, rng)
    return SceneView(recolour(frame.pixels(image), options.colour, rng), frame.scene(scene))


def random_frame(scene: CocoImage, options: AugmentOptions, rng: np.random.Generator) -> Frame:
    """Crop, flip and turn at random."""
    width, height = scene.width, scene.height
    x0, y0, x1, y1 = 0, 0, width, height
    if rng.random() < options.crop:
        side_x, side_y = _crop_sides(options.smallest_crop, rng)
        crop_width, crop_height = max(32, round(side_x * width)), max(32, round(side_y * height))
        x0 = int(rng.integers(0, max(1, width - crop_width + 1)))
        y0 = int(rng.integers(0, max(1, height - crop_height + 1)))
        x1, y1 = min(width, x0 + crop_width), min(height, y0 + crop_height)
    mirrored = bool(options.flip and rng.random() < 0.5)
    turns = int(rng.integers(0, 4)) if options.rotate else 0
    return Frame((x0, y0, x1, y1), mirrored, turns)


def _crop_sides(smallest: float, rng: np.random.Generator) -> tuple[float, float]:
    side = rng.uniform(smallest, 1.0)
    stretch = rng.uniform(0.8, 1.25) ** 0.5
    return min(1.0, side * stretch), min(1.0, side / stretch)


def recolour(pixels: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change brightness, contrast, saturation and tint of (H, W, 3) at random; the result is contiguous."""
    if strength == 0:
        return np.ascontiguousarray(pixels)
    brightness, contrast, saturation = 1 + rng.uniform(-strength, strength, size=3)
    tint = 1 + rng.uniform(-strength, strength, size=3) / 4
    values = pixels.astype(np.float32)
    grey = values.mean(axis=2, keepdims=True)
    values = grey + (values - grey) * saturation
    mean = grey.mean()
    values = (mean + (values - mean) * contrast) * brightness * tint
    recoloured: NDArray[np.uint8] = np.clip(values, 0, 255).astype(np.uint8)
    return recoloured
