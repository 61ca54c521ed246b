"""Training views of images with outlined objects: a random view, and phrases made for what it shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from refersat.box import Box, hull
from refersat.data import shapes
from refersat.data.coco import CocoFile, CocoImage
from refersat.errors import UserError
from refersat.models import store
from refersat.text.expressions import Expression, Grammar, sample_expressions
from refersat.text.phrases import Tokenizer
from refersat.text.scene import SceneObject
from refersat.training.augment import SceneView, random_frame, random_view, recolour
from refersat.training.batch import UNNAMED, AnyBatch, Collate, View, collate
from refersat.training.other_names import other_names
from refersat.training.recipe import OutlineData, Recipe
from refersat.training.schedule import Schedule

LABEL_STRIDE = 4
"""The category map has the resolution of the finest features."""

BACKGROUND_WEIGHT = 0.2
"""Most of an image is background; with its full weight the category head would first learn to say nothing."""

MEDIUM_OBJECT = 60
"""Cells of an object of weight 1. Smaller ones weigh more per cell, so that an airplane counts beside a stadium."""

OBJECT_WEIGHTS = (0.4, 4.0)

KEPT_BYTES = 2 * 1024**3
"""Decoded images are kept up to this; the rest are decoded each time."""

VIEWS_TO_TRY = 1000

_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


def check_outlines(data: OutlineData, source: CocoFile) -> None:
    """See before a run that its images are there and as large as their outlines say.

    Raises:
        UserError: what is wrong, and with which image.
    """
    unknown = sorted(set(data.never_absent) - set(source.categories))
    if unknown:
        raise UserError(
            f"data.never_absent names no category of {data.annotations}: {', '.join(unknown)}; "
            f"there are {', '.join(source.categories)}"
        )
    scenes = _described(source)
    if not scenes:
        raise UserError(f"{data.annotations} has no image with objects")
    if not data.images.is_dir():
        raise UserError(f"data.images: there is no folder {data.images}")
    for scene in scenes:
        path = data.images / scene.file_name
        try:
            with Image.open(path) as image:
                width, height = image.size
        except FileNotFoundError:
            raise UserError(f"data.images: {path} is missing, {data.annotations} names it") from None
        except (UnidentifiedImageError, OSError):
            raise UserError(f"data.images: {path} is not an image that can be read") from None
        if (width, height) != (scene.width, scene.height):
            raise UserError(f"{path} is {width} x {height}, but its outlines are for {scene.width} x {scene.height}")


class PhraseSampler:
    """Makes batches of what `check_outlines` found good.

    The views of a step are drawn one after the other and depend on nothing but the recipe's seed, so a run can be
    resumed anywhere and shared by any number of processes, each of which draws the whole batch and keeps its share.
    """

    def __init__(
        self, recipe: Recipe, source: CocoFile, tokenizer: Tokenizer, config: Any, put_together: Collate = collate
    ) -> None:
        assert isinstance(recipe.data, OutlineData)
        self.data = recipe.data
        self.categories = source.categories
        self.seed = recipe.seed
        self._augment = recipe.augment
        self._scenes = _described(source)
        self._shares = _shares(self._scenes, self.data.rare)
        self._tokenizer = tokenizer
        self._config = config
        self._collate = put_together
        self._grammar = Grammar(self.data.style)
        self._never_absent = frozenset(self.data.never_absent)
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        self._kept_bytes = 0

    def batches(self, step: int, schedule: Schedule, parts: Sequence[range]) -> list[AnyBatch]:
        """Parts of the batch of a step (from 0), by the numbers of their views."""
        stage = schedule.stage_at(step)
        last = max(part.stop for part in parts)
        views = self.views(step, size=last, image_size=stage.image_size, phrases=stage.phrases_per_view)
        config = copy(self._config)
        config.image_size = stage.image_size
        return [self._collate(views[part.start : part.stop], self._tokenizer, config) for part in parts]

    def views(self, step: int, *, size: int, image_size: int, phrases: int = 1) -> list[View]:
        """The first `size` views of a step's batch, of `image_size` pixels, with `phrases` phrases about each."""
        rng = np.random.default_rng((self.seed, step, 0))
        return [self._sample(rng, image_size, phrases) for _ in range(size)]

    def scenes(self, count: int, *, pixels: bool = True) -> Iterator[tuple[SceneView, frozenset[str]]]:
        """Views of objects of which something can be said, always the same, and the categories of the whole image.

        Without `pixels`, which take most of the time, those are an empty array.
        """
        for number in range(count):
            rng = np.random.default_rng((self.seed, number, 3))
            for _ in range(VIEWS_TO_TRY):
                image = self._choose(rng)
                frame = random_frame(image, self._augment, rng)
                scene, context = frame.scene(image), _categories(image)
                if scene.objects and self.expressions(scene, context, rng, 1):
                    break
            else:
                raise UserError(self._nothing_fits())
            shown = recolour(frame.pixels(self._read(image)), self._augment.colour, rng) if pixels else _NO_PIXELS
            yield SceneView(shown, scene), context

    def views_are_of(self) -> dict[str, Any]:
        """All that `scenes` depend on, as plain values."""
        return {
            "seed": self.seed,
            "augment": self._augment.model_dump(),
            "data": self.data.model_dump(mode="json", exclude={"annotations", "images", "validation"}),
            "annotations": store.sha256(self.data.annotations),
        }

    def expressions(
        self, scene: CocoImage, context: frozenset[str], rng: np.random.Generator, count: int
    ) -> list[Expression]:
        """Phrases about a view; none where nothing can be said, as of bare ground where nothing is surely absent.

        Args:
            scene: the view's objects.
            context: what was cropped away still tells what may stand around unlabelled.
            rng: chooses.
            count: how many.
        """
        objects: Sequence[SceneObject] = scene.objects
        never_absent = self._never_absent
        if self.data.other_names and objects and rng.random() < self.data.other_names:
            other = other_names(objects, rng)
            objects, never_absent = other.objects, never_absent | other.hidden
        return sample_expressions(
            objects,
            scene.width,
            scene.height,
            rng,
            count=count,
            grammar=self._grammar,
            vocabulary=self.categories,
            never_absent=never_absent,
            context=context,
        )

    def _sample(self, rng: np.random.Generator, image_size: int, phrases: int) -> View:
        view, expressions = self._view(rng, phrases)
        labels, label_weights, edges = self._labels(view.scene, image_size)
        return View(
            name=view.scene.file_name,
            pixels=view.pixels,
            phrases=[expression.phrase for expression in expressions],
            targets=targets_of(view.scene, expressions, image_size),
            present=[bool(expression.targets) for expression in expressions],
            boxes=[_box(view.scene, expression) for expression in expressions],
            named=[self._number(expression.category) for expression in expressions],
            labels=labels,
            label_weights=label_weights,
            edges=edges,
        )

    def _view(self, rng: np.random.Generator, phrases: int) -> tuple[SceneView, list[Expression]]:
        """A view and phrases for it."""
        for _ in range(VIEWS_TO_TRY):
            scene = self._choose(rng)
            view = random_view(self._read(scene), scene, self._augment, rng)
            found = self.expressions(view.scene, _categories(scene), rng, phrases)
            if found or not phrases:
                return view, found
        raise UserError(self._nothing_fits())

    def _number(self, category: str) -> int:
        return self.categories.index(category) if category in self.categories else UNNAMED

    def _choose(self, rng: np.random.Generator) -> CocoImage:
        return self._scenes[int(rng.choice(len(self._scenes), p=self._shares))]

    def _nothing_fits(self) -> str:
        return f"no phrase fits the images of {self.data.annotations}: their objects are too small"

    def _labels(
        self, scene: CocoImage, image_size: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """What every cell shows, smaller objects over larger ones, how much it counts, and how far its edges are."""
        side = image_size // LABEL_STRIDE
        scale = np.array([[side / scene.width, 0, 0], [0, side / scene.height, 0]])
        labels = np.zeros((side, side), np.int64)
        weights = np.full((side, side), BACKGROUND_WEIGHT, np.float32)
        edges = np.zeros((4, side, side), np.float32)
        for item, shape in sorted(zip(scene.objects, scene.shapes, strict=True), key=lambda pair: -pair[0].area):
            cells = shapes.rasterise([shapes.warp(shape, scale)], side, side)
            labels[cells] = 1 + self.categories.index(item.category)
            weights[cells] = np.clip((MEDIUM_OBJECT / max(1, int(np.count_nonzero(cells)))) ** 0.5, *OBJECT_WEIGHTS)
            rows, columns = np.nonzero(cells)
            if len(rows):
                edges[0, rows, columns] = columns + 0.5 - columns.min()
                edges[1, rows, columns] = rows + 0.5 - rows.min()
                edges[2, rows, columns] = columns.max() + 0.5 - columns
                edges[3, rows, columns] = rows.max() + 0.5 - rows
        return labels, weights, edges

    def _read(self, scene: CocoImage) -> NDArray[np.uint8]:
        """The image (H, W, 3)."""
        if scene.file_name in self._pixels:
            return self._pixels[scene.file_name]
        path = self.data.images / scene.file_name
        try:
            with Image.open(path) as image:
                pixels = np.array(image.convert("RGB"))
        except OSError as error:
            raise UserError(f"cannot read the training image {path}: {error}") from None
        if self._kept_bytes + pixels.nbytes <= KEPT_BYTES:
            self._pixels[scene.file_name] = pixels
            self._kept_bytes += pixels.nbytes
        return pixels


def targets_of(scene: CocoImage, expressions: Sequence[Expression], side: int) -> NDArray[np.bool_]:
    """What phrases about a view name, as masks (E, side, side)."""
    scale = np.array([[side / scene.width, 0, 0], [0, side / scene.height, 0]])
    scaled = [shapes.warp(shape, scale) for shape in scene.shapes]
    masks = [shapes.rasterise([scaled[i] for i in each.targets], side, side) for each in expressions]
    return np.array(masks, dtype=np.bool_).reshape(-1, side, side)


def _box(scene: CocoImage, expression: Expression) -> Box | None:
    """Around all targets, in shares of the view's sides."""
    if not expression.targets:
        return None
    x0, y0, x1, y1 = hull([shapes.bounds(scene.shapes[index]) for index in expression.targets])
    return x0 / scene.width, y0 / scene.height, x1 / scene.width, y1 / scene.height


def _categories(scene: CocoImage) -> frozenset[str]:
    return frozenset(item.category for item in scene.objects)


def _described(source: CocoFile) -> list[CocoImage]:
    return [scene for scene in source.images if scene.objects]


def _shares(scenes: list[CocoImage], rare: float) -> NDArray[np.float64]:
    """How often each scene is drawn, of 1: one with a category that fewer than `rare` of the scenes have, more often.

    Source: repeat factor sampling (Gupta et al., "LVIS", CVPR 2019), section 4.2.
    """
    present = Counter(category for scene in scenes for category in {item.category for item in scene.objects})
    factors = np.array(
        [
            max(max(1.0, (rare * len(scenes) / present[item.category]) ** 0.5) for item in scene.objects)
            for scene in scenes
        ]
    )
    shares: NDArray[np.float64] = factors / factors.sum()
    return shares
