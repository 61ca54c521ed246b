"""Training samples: a random view of a random image, and a phrase made for what the view shows."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from refersat.data import shapes
from refersat.data.coco import CocoFile, CocoImage
from refersat.errors import UserError
from refersat.models.preprocess import preprocess
from refersat.models.rs2sam2 import RS2Sam2Config
from refersat.text.expressions import Expression, Grammar, sample_expressions
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.augment import View, random_view
from refersat.training.interruption import ignore_interrupt
from refersat.training.recipe import Recipe

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


@dataclass(frozen=True)
class Batch:
    """B phrases about N views of side S, B/N in a row about each.

    `pixel_values` (N, 3, S, S), `union_pixel_values` (N, 3, U, U), `input_ids` and `attention_mask` (B, L),
    `target` (B, 1, S, S) float 0 or 1, `present` (B,) float 0 or 1,
    `named` (B,) int64: the category that the phrase names, be it there or not, from 0,
    `labels` (N, S/4, S/4) int64: 0 background, 1.. categories; `label_weights` (N, S/4, S/4) float32.
    """

    pixel_values: Tensor
    union_pixel_values: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    target: Tensor
    present: Tensor
    named: Tensor
    labels: Tensor
    label_weights: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


def check_data(recipe: Recipe, source: CocoFile) -> None:
    """See before a run that its images are there and as large as their outlines say.

    Raises:
        UserError: what is wrong, and with which image.
    """
    unknown = sorted(set(recipe.data.never_absent) - set(source.categories))
    if unknown:
        raise UserError(
            f"data.never_absent names no category of {recipe.data.annotations}: {', '.join(unknown)}; "
            f"there are {', '.join(source.categories)}"
        )
    scenes = _described(source)
    if not scenes:
        raise UserError(f"{recipe.data.annotations} has no image with objects")
    if not recipe.data.images.is_dir():
        raise UserError(f"data.images: there is no folder {recipe.data.images}")
    for scene in scenes:
        path = recipe.data.images / scene.file_name
        try:
            with Image.open(path) as image:
                width, height = image.size
        except FileNotFoundError:
            raise UserError(f"data.images: {path} is missing, {recipe.data.annotations} names it") from None
        except (UnidentifiedImageError, OSError):
            raise UserError(f"data.images: {path} is not an image that can be read") from None
        if (width, height) != (scene.width, scene.height):
            raise UserError(f"{path} is {width} x {height}, but its outlines are for {scene.width} x {scene.height}")


def batches(sampler: PhraseSampler, *, start: int, rank: int, processes: int) -> Iterator[Batch]:
    """One process's batches from a step to the end of the schedule, made in the background."""
    stream = _BatchStream(sampler, start=start, rank=rank, processes=processes)
    loader = DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4, worker_init_fn=ignore_interrupt)
    try:
        yield from loader
    except UserError as error:  # the worker's trace comes in the message
        raise UserError(str(error).rpartition(f"{UserError.__name__}: ")[2]) from None


class PhraseSampler:
    """Makes batches of what `check_data` found good.

    Batch `index` of `rank` depends on nothing but the recipe's seed, so a run can be resumed anywhere.
    """

    def __init__(self, recipe: Recipe, source: CocoFile, tokenizer: PhraseTokenizer, config: RS2Sam2Config) -> None:
        self.recipe = recipe
        self.categories = source.categories
        self._scenes = _described(source)
        self._tokenizer = tokenizer
        self._config = config
        self._grammar = Grammar(recipe.data.style)
        self._never_absent = frozenset(recipe.data.never_absent)
        self._pixels: dict[str, NDArray[np.uint8]] = {}
        self._kept_bytes = 0

    def batch(self, index: int, *, rank: int, size: int, image_size: int, phrases: int = 1) -> Batch:
        """One process's batch of `size` views of `image_size` pixels, with `phrases` phrases about each."""
        rng = np.random.default_rng((self.recipe.seed, index, rank))
        samples = [self._sample(rng, image_size, phrases) for _ in range(size)]
        config = copy(self._config)
        config.image_size = image_size
        pixel_values, union_pixel_values = preprocess([sample.pixels for sample in samples], config)
        input_ids, attention_mask = self._tokenizer([phrase for sample in samples for phrase in sample.phrases])
        return Batch(
            pixel_values=pixel_values,
            union_pixel_values=union_pixel_values,
            input_ids=input_ids,
            attention_mask=attention_mask,
            target=torch.from_numpy(np.concatenate([sample.targets for sample in samples]))[:, None].float(),
            present=torch.tensor([float(present) for sample in samples for present in sample.present]),
            named=torch.tensor([self.categories.index(name) for sample in samples for name in sample.named]),
            labels=torch.from_numpy(np.stack([sample.labels for sample in samples])),
            label_weights=torch.from_numpy(np.stack([sample.label_weights for sample in samples])),
        )

    def _sample(self, rng: np.random.Generator, image_size: int, phrases: int) -> _Sample:
        view, expressions = self._view(rng, phrases)
        labels, label_weights = self._labels(view.scene, image_size)
        scale = np.array([[image_size / view.scene.width, 0, 0], [0, image_size / view.scene.height, 0]])
        scaled = [shapes.warp(shape, scale) for shape in view.scene.shapes]
        return _Sample(
            pixels=view.pixels,
            phrases=[expression.phrase for expression in expressions],
            targets=np.array(
                [shapes.rasterise([scaled[i] for i in e.targets], image_size, image_size) for e in expressions]
            ).reshape(-1, image_size, image_size),
            present=[bool(expression.targets) for expression in expressions],
            named=[expression.category for expression in expressions],
            labels=labels,
            label_weights=label_weights,
        )

    def _view(self, rng: np.random.Generator, phrases: int) -> tuple[View, list[Expression]]:
        """A view and phrases for it; a crop of bare ground in which nothing can safely be called absent has none."""
        for _ in range(VIEWS_TO_TRY):
            scene = self._scenes[int(rng.integers(len(self._scenes)))]
            view = random_view(self._read(scene), scene, self.recipe.augment, rng)
            found = sample_expressions(
                view.scene.objects,
                view.scene.width,
                view.scene.height,
                rng,
                count=phrases,
                grammar=self._grammar,
                vocabulary=self.categories,
                never_absent=self._never_absent,
                # What was cropped away still tells what may stand around unlabelled.
                context=frozenset(item.category for item in scene.objects),
            )
            if found or not phrases:
                return view, found
        raise UserError(f"no phrase fits the images of {self.recipe.data.annotations}: their objects are too small")

    def _labels(self, scene: CocoImage, image_size: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """What every cell shows, smaller objects over larger ones, and how much it counts."""
        side = image_size // LABEL_STRIDE
        scale = np.array([[side / scene.width, 0, 0], [0, side / scene.height, 0]])
        labels = np.zeros((side, side), np.int64)
        weights = np.full((side, side), BACKGROUND_WEIGHT, np.float32)
        for item, shape in sorted(zip(scene.objects, scene.shapes, strict=True), key=lambda pair: -pair[0].area):
            cells = shapes.rasterise([shapes.warp(shape, scale)], side, side)
            labels[cells] = 1 + self.categories.index(item.category)
            weights[cells] = np.clip((MEDIUM_OBJECT / max(1, int(np.count_nonzero(cells)))) ** 0.5, *OBJECT_WEIGHTS)
        return labels, weights

    def _read(self, scene: CocoImage) -> NDArray[np.uint8]:
        """The image (H, W, 3)."""
        if scene.file_name in self._pixels:
            return self._pixels[scene.file_name]
        path = self.recipe.data.images / scene.file_name
        try:
            with Image.open(path) as image:
                pixels = np.array(image.convert("RGB"))
        except OSError as error:
            raise UserError(f"cannot read the training image {path}: {error}") from None
        if self._kept_bytes + pixels.nbytes <= KEPT_BYTES:
            self._pixels[scene.file_name] = pixels
            self._kept_bytes += pixels.nbytes
        return pixels


class _BatchStream(IterableDataset[Batch]):
    def __init__(self, sampler: PhraseSampler, *, start: int, rank: int, processes: int) -> None:
        self._sampler = sampler
        self._start = start
        self._rank = rank
        self._processes = processes

    def __iter__(self) -> Iterator[Batch]:
        recipe = self._sampler.recipe
        for index in range(self._start, recipe.steps):
            stage = recipe.stage_at(index)
            yield self._sampler.batch(
                index,
                rank=self._rank,
                size=stage.batch_size // self._processes,
                image_size=stage.image_size,
                phrases=stage.phrases_per_view,
            )


@dataclass(frozen=True)
class _Sample:
    pixels: NDArray[np.uint8]
    phrases: list[str]
    targets: NDArray[np.bool_]
    present: list[bool]
    named: list[str]
    labels: NDArray[np.int64]
    label_weights: NDArray[np.float32]


def _described(source: CocoFile) -> list[CocoImage]:
    return [scene for scene in source.images if scene.objects]
