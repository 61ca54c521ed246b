"""Training views of samples as they are: an image, one phrase and its mask; mirrored and recoloured at random."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from refersat.box import Box, mask_box
from refersat.data.relatives import check_sources_apart
from refersat.data.samples import Sample
from refersat.data.sources import read_samples
from refersat.data.target import target_of
from refersat.errors import UserError
from refersat.imagery import read_image
from refersat.text.flips import flipped
from refersat.text.phrases import Tokenizer
from refersat.training.absent import AbsentPhrases
from refersat.training.augment import recolour
from refersat.training.batch import AnyBatch, Collate, View, collate
from refersat.training.recipe import Recipe, SampleData
from refersat.training.schedule import Schedule


@dataclass(frozen=True)
class TrainingSamples:
    """What a recipe trains on and measures, and the sha256 of what lists both (`fingerprint`)."""

    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]
    fingerprint: str


def read_training_samples(data: SampleData, *, boxes_suffice: bool = False) -> TrainingSamples:
    """List the samples, and see that all can be trained on and none is measured, too.

    Raises:
        UserError: data is missing or malformed, has no masks (or, where `boxes_suffice`, neither masks nor boxes), or
            is both trained on and measured.
    """
    check_sources_apart(data.train, [data.validation] if data.validation is not None else [])
    sets = [read_samples(source, split=data.split) for source in data.train]
    train = [sample for one in sets for sample in one.samples]
    fingerprints = [one.fingerprint for one in sets]
    if data.holdout:
        train, validation = _held_out(train, data.holdout)
    else:
        validation = []
        if data.validation_split is not None:
            sources = data.train if data.validation is None else [data.validation]
            measured = [read_samples(source, split=data.validation_split) for source in sources]
            validation = [sample for one in measured for sample in one.samples]
            fingerprints += [one.fingerprint for one in measured]
    train = [sample for sample in train if _chance(f"{sample.id}\n{sample.image.name}\n{sample.phrase}") < data.share]
    for samples, name in ((train, "train"), (validation, "validation")):
        bare = [
            sample
            for sample in samples
            if sample.load_mask is None and not sample.absent and not (boxes_suffice and sample.boxes)
        ]
        if bare:
            lacking = "neither mask nor box" if boxes_suffice else "no mask"
            raise UserError(f"data.{name}: {len(bare)} samples have {lacking}, {bare[0].id} for one")
    if not train:
        raise UserError("data.train: nothing is left to train on" + (f" of {data.share:g}" if data.share < 1 else ""))
    _check_apart(train, validation)
    return TrainingSamples(
        train=tuple(train),
        validation=tuple(validation),
        fingerprint=hashlib.sha256("\n".join(fingerprints).encode()).hexdigest(),
    )


def _held_out(samples: Sequence[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    """Training and validation, by image: what is said of one image stays together. No matter what else is there.

    Of few images chance may choose none: the one that would be chosen first is held out in any case.
    """
    chances = {sample.image.name: _chance(sample.image.name) for sample in samples}
    first = min(chances, key=lambda name: chances[name]) if len(chances) > 1 else None
    kept: list[Sample] = []
    held: list[Sample] = []
    for sample in samples:
        name = sample.image.name
        (held if chances[name] < share or name == first else kept).append(sample)
    return kept, held


def _chance(name: str) -> float:
    """A number from 0 to 1 that is a name's own, the same in every run."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / 2**64


def _check_apart(train: Sequence[Sample], validation: Sequence[Sample]) -> None:
    known = {(sample.image, sample.phrase) for sample in train}
    both = [sample for sample in validation if (sample.image, sample.phrase) in known]
    if both:
        raise UserError(
            f"{len(both)} samples are trained on and measured, {both[0].id} for one: give data.validation, "
            "data.holdout=0.1 to set images aside, or data.validation_split=null to measure nothing"
        )


def _box(mask: NDArray[np.bool_]) -> Box | None:
    """Around a mask, in shares of its sides."""
    if not mask.any():
        return None
    height, width = mask.shape
    x0, y0, x1, y1 = mask_box(mask)
    return x0 / width, y0 / height, x1 / width, y1 / height


class SetSampler:
    """Makes batches of samples: every epoch shows each once, in an order of its own.

    A view depends on its place in the run and the recipe's seed alone, so a run can be resumed anywhere, and shared by
    any number of processes, each of which reads only what it works on.
    """

    def __init__(
        self,
        recipe: Recipe,
        samples: Sequence[Sample],
        tokenizer: Tokenizer,
        config: Any,
        put_together: Collate = collate,
    ) -> None:
        assert isinstance(recipe.data, SampleData)
        self.data = recipe.data
        self.samples = samples
        self._seed = recipe.seed
        self._tokenizer = tokenizer
        self._config = config
        self._collate = put_together
        self._absent = AbsentPhrases.of(samples, recipe.data) if recipe.data.absent else None
        self._order: tuple[int, NDArray[np.int64]] | None = None

    def batches(self, step: int, schedule: Schedule, parts: Sequence[range]) -> list[AnyBatch]:
        """Parts of the batch of a step (from 0), by the numbers of their views."""
        config = copy(self._config)
        config.image_size = schedule.stage_at(step).image_size
        first = schedule.views_before(step)
        return [
            self._collate([self.view(first + place, config.image_size) for place in part], self._tokenizer, config)
            for part in parts
        ]

    def view(self, place: int, image_size: int) -> View:
        """The view at a place of the run (from 0), its target of `image_size` pixels.

        Raises:
            UserError: its image or mask cannot be read, or they are of different sizes.
        """
        epoch, number = divmod(place, len(self.samples))
        sample = self.samples[int(self._order_of(epoch)[number])]
        rng = np.random.default_rng((self._seed, place, 1))
        pixels = read_image(sample.image).rgb
        mask = self._mask(sample, pixels.shape[:2])
        phrase = sample.phrase
        if self._absent is not None and rng.random() < self.data.absent:
            foreign = self._absent.choose(sample, rng)
            if foreign is not None:
                phrase, mask = foreign, np.zeros_like(mask)
        pixels, mask, phrase = self._mirrored(pixels, mask, phrase, rng)
        target = PIL.Image.fromarray(mask).resize((image_size, image_size), PIL.Image.Resampling.NEAREST)
        return View(
            name=sample.id,
            pixels=recolour(pixels, self.data.colour, rng),
            phrases=[phrase],
            targets=np.asarray(target, dtype=np.bool_)[None],
            present=[bool(mask.any())],
            boxes=[_box(mask)],
        )

    def _mask(self, sample: Sample, shape: tuple[int, ...]) -> NDArray[np.bool_]:
        if sample.load_mask is None:
            filled = target_of(sample, (shape[0], shape[1]))
            return np.zeros(shape, dtype=np.bool_) if filled is None else filled
        mask = sample.load_mask()
        if mask.shape != shape:
            raise UserError(
                f"sample {sample.id}: its mask is {mask.shape[1]} x {mask.shape[0]}, its image {shape[1]} x {shape[0]}"
            )
        return mask

    def _mirrored(
        self, pixels: NDArray[np.uint8], mask: NDArray[np.bool_], phrase: str, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_], str]:
        """Mirror with even chances in each direction that the recipe allows and the phrase survives."""
        if self.data.flip != "none" and rng.random() < 0.5:
            other = flipped(phrase, "left-right")
            if other is not None:
                pixels, mask, phrase = pixels[:, ::-1], mask[:, ::-1], other
        if self.data.flip == "both" and rng.random() < 0.5:
            other = flipped(phrase, "up-down")
            if other is not None:
                pixels, mask, phrase = pixels[::-1], mask[::-1], other
        return pixels, np.ascontiguousarray(mask), phrase

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self._seed, epoch, 2)).permutation(len(self.samples))
        return self._order[1]
