"""Training samples: a random view of a random image, and a phrase made for what the view shows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from refersat.data import shapes
from refersat.data.coco import CocoFile, CocoImage
from refersat.errors import UserError
from refersat.models.preprocess import preprocess
from refersat.models.rs2sam2 import RS2Sam2Config
from refersat.text.expressions import Grammar, sample_expressions
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.augment import random_view
from refersat.training.recipe import Recipe

LABEL_STRIDE = 4
"""The category map has the resolution of the finest features."""


@dataclass(frozen=True)
class Batch:
    """B samples with views of side S.

    `pixel_values` (B, 3, S, S), `union_pixel_values` (B, 3, U, U), `input_ids` and `attention_mask` (B, L),
    `target` (B, 1, S, S) float 0 or 1, `present` (B,) float, `labels` (B, S/4, S/4) int64: 0 background, 1.. categories.
    """

    pixel_values: Tensor
    union_pixel_values: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    target: Tensor
    present: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        return Batch(**{field.name: getattr(self, field.name).to(device) for field in fields(self)})


class PhraseSampler:
    """Makes batches. Batch `index` of `rank` depends on nothing but the recipe's seed, so a run can be resumed anywhere."""

    def __init__(self, recipe: Recipe, source: CocoFile, tokenizer: PhraseTokenizer, config: RS2Sam2Config) -> None:
        self.recipe = recipe
        self.categories = source.categories
        self._scenes = [scene for scene in source.images if scene.objects]
        if not self._scenes:
            raise UserError(f"{recipe.data.annotations} has no image with objects")
        self._tokenizer = tokenizer
        self._config = config
        self._grammar = Grammar(recipe.data.style)
        self._pixels: dict[str, NDArray[np.uint8]] = {}

    @cached_property
    def _never_absent(self) -> frozenset[str]:
        return frozenset(self.recipe.data.never_absent)

    def batch(self, index: int, *, rank: int, size: int, image_size: int) -> Batch:
        """One process's batch of `size` samples with views of `image_size` pixels."""
        rng = np.random.default_rng((self.recipe.seed, index, rank))
        samples = [self._sample(rng, image_size) for _ in range(size)]
        config = self._config.__class__(**{**self._config.to_dict(), "image_size": image_size})
        pixel_values, union_pixel_values = preprocess([sample.pixels for sample in samples], config)
        input_ids, attention_mask = self._tokenizer([sample.phrase for sample in samples])
        return Batch(
            pixel_values=pixel_values,
            union_pixel_values=union_pixel_values,
            input_ids=input_ids,
            attention_mask=attention_mask,
            target=torch.from_numpy(np.stack([sample.target for sample in samples]))[:, None].float(),
            present=torch.tensor([float(sample.present) for sample in samples]),
            labels=torch.from_numpy(np.stack([sample.labels for sample in samples])),
        )

    def _sample(self, rng: np.random.Generator, image_size: int) -> _Sample:
        scene = self._scenes[int(rng.integers(len(self._scenes)))]
        view = random_view(self._read(scene), scene, self.recipe.augment, rng)
        found = sample_expressions(
            view.scene.objects,
            view.scene.width,
            view.scene.height,
            rng,
            count=1,
            grammar=self._grammar,
            vocabulary=self.categories,
            never_absent=self._never_absent,
            # What was cropped away still tells what may stand around unlabelled.
            context=frozenset(item.category for item in scene.objects),
        )
        if not found:  # a crop of bare ground in which nothing can safely be called absent
            return self._sample(rng, image_size)
        expression = found[0]
        scale = np.array([[image_size / view.scene.width, 0, 0], [0, image_size / view.scene.height, 0]])
        targets = [shapes.warp(view.scene.shapes[i], scale) for i in expression.targets]
        return _Sample(
            pixels=view.pixels,
            phrase=expression.phrase,
            target=shapes.rasterise(targets, image_size, image_size),
            present=bool(expression.targets),
            labels=self._labels(view.scene, scale / LABEL_STRIDE, image_size // LABEL_STRIDE),
        )

    def _labels(self, scene: CocoImage, scale: NDArray[np.float64], side: int) -> NDArray[np.int64]:
        labels = np.zeros((side, side), np.int64)
        for item, shape in sorted(zip(scene.objects, scene.shapes, strict=True), key=lambda pair: -pair[0].area):
            labels[shapes.rasterise([shapes.warp(shape, scale)], side, side)] = 1 + self.categories.index(item.category)
        return labels

    def _read(self, scene: CocoImage) -> NDArray[np.uint8]:
        """The image, decoded once and kept."""
        if scene.file_name not in self._pixels:
            path = self.recipe.data.images / scene.file_name
            try:
                self._pixels[scene.file_name] = np.asarray(Image.open(path).convert("RGB"))
            except OSError as error:
                raise UserError(f"cannot read the training image {path}: {error}") from None
        return self._pixels[scene.file_name]


class BatchStream(IterableDataset[Batch]):
    """One process's batches from a step to the end of the schedule."""

    def __init__(self, sampler: PhraseSampler, *, start: int, rank: int, processes: int) -> None:
        self._sampler = sampler
        self._start = start
        self._rank = rank
        self._processes = processes

    def __iter__(self) -> Iterator[Batch]:
        recipe = self._sampler.recipe
        for index in range(self._start, recipe.steps):
            stage = recipe.stage_at(index)
            size = stage.batch_size // self._processes
            yield self._sampler.batch(index, rank=self._rank, size=size, image_size=stage.image_size)


@dataclass(frozen=True)
class _Sample:
    pixels: NDArray[np.uint8]
    phrase: str
    target: NDArray[np.bool_]
    present: bool
    labels: NDArray[np.int64]

