"""Images and phrases to results: run in batches, resize to the image's pixels, threshold."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from refersat.box import Box
from refersat.errors import UserError
from refersat.imagery import Image, ImageSource, read_image
from refersat.question import check_phrase, check_threshold
from refersat.result import Result
from refersat.side_by_side import side_by_side

if TYPE_CHECKING:
    import torch

    from refersat.backend import Backend, Device, Said

Made = TypeVar("Made")

_Batch: TypeAlias = "list[tuple[Image, list[str]]]"
"""Images with what is asked about each."""


def load(
    name_or_folder: str | Path = "built-in", *, device: str = "auto", dtype: str = "auto", fast: bool = True
) -> Segmenter:
    """Load a model: a name that `refersat models list` shows, a model folder, or one that `refersat export` wrote.

    Args:
        name_or_folder: for example "built-in", "rs2sam2-rrsisd" or "path/to/folder".
        device: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:1" or "mps".
        dtype: "auto", "float32" or "bfloat16"; see `refersat.device.choose_dtype`. "int8" is as "auto", but on a CPU
            the weights of the trunk's and the union encoder's linear layers are kept in 8 bits, to save memory.
        fast: run the model in its faster form, where this machine has one; else as it is written.

    Raises:
        UserError: no such model, device or dtype, or the model's files are incomplete.
    """
    from refersat.export.manifest import is_export
    from refersat.models.identity import model_folder

    folder = model_folder(str(name_or_folder))
    if is_export(folder):  # which runs without PyTorch: nothing here may import that before
        from refersat.export.backend import OnnxBackend, check_options

        check_options(device, dtype)
        return Segmenter(OnnxBackend.open(folder), name=folder.resolve().name, folder=folder)
    from refersat.device import INT8
    from refersat.models.loading import load_model
    from refersat.models.torch_backend import TorchBackend

    where, number_format = _chosen(name_or_folder, device, dtype, fast=fast)
    loaded = load_model(name_or_folder, device=where, dtype=number_format)
    backend = TorchBackend.of(loaded, device=where, dtype=number_format, fast=fast, int8=dtype == INT8)
    return Segmenter(backend, name=loaded.name, folder=folder)


def check_load(name_or_folder: str | Path, *, device: str = "auto", dtype: str = "auto", fast: bool = True) -> None:
    """See that `load` would take these options, without reading a model.

    Raises:
        UserError: it would refuse them.
    """
    from refersat.export.manifest import is_export
    from refersat.models.identity import model_folder

    if is_export(model_folder(str(name_or_folder))):
        from refersat.export.backend import check_options

        check_options(device, dtype)
    else:
        _chosen(name_or_folder, device, dtype, fast=fast)


def _chosen(name_or_folder: str | Path, device: str, dtype: str, *, fast: bool) -> tuple[torch.device, torch.dtype]:
    """The device and the number format to compute in, for a model in PyTorch.

    Raises:
        UserError: they cannot be.
    """
    from refersat.device import INT8, choose_device, choose_dtype
    from refersat.models.loading import check_int8

    where = choose_device(device)
    number_format = choose_dtype(dtype, where)
    if dtype == INT8:
        check_int8(name_or_folder, where, number_format, fast=fast)
    return where, number_format


@dataclass(frozen=True, eq=False)
class Probability:
    """An answer before any threshold.

    Attributes:
        values: float32 (H, W) in [0, 1]; 0 on pixels without data.
        present: whether the target is there by the model's own rule, whatever the pixels say.
        score: in [0, 1], that the target is there; the highest pixel's value for models that have no such score.
        boxes: where a model of two stages found the target before it drew it, in pixels of the image; else none.
    """

    values: NDArray[np.float32]
    present: bool
    score: float
    boxes: tuple[Box, ...] = ()


class Segmenter:
    """A loaded model, ready for images and phrases.

    Args:
        backend: the model, with what computes it.
        name: what it is called.
        folder: where its files lie, if they do.
    """

    def __init__(self, backend: Backend, *, name: str, folder: Path | None = None) -> None:
        self.name = name
        self.folder = folder
        self._backend = backend

    @property
    def device(self) -> Device:
        """Where the model runs: a `torch.device`, but for exported models."""
        return self._backend.device

    @property
    def dtype(self) -> Any:
        """The number format in which the model computes: a `torch.dtype`, but for exported models."""
        return self._backend.dtype

    @property
    def number_format(self) -> str:
        """In words, on which answers depend: the format to compute in, and how weights are kept."""
        return self._backend.number_format

    @property
    def threshold(self) -> float:
        """The probability above which a pixel is foreground when no other is asked for."""
        return float(self._backend.probability(np.array(self._backend.mask_threshold, np.float32)))

    @property
    def parameters(self) -> int:
        """Number of the model's parameters."""
        return self._backend.parameters

    @property
    def batch_size(self) -> int:
        """Questions per forward pass when not told; on a CPU all about one image, as only those share work there."""
        return self._backend.phrases_at_once if self._one_image_at_a_time else 4

    @property
    def _one_image_at_a_time(self) -> bool:
        return self.device.type == "cpu"

    def __call__(self, image: ImageSource, phrase: str, *, threshold: float | None = None) -> Result:
        """What one phrase names in one image.

        Args:
            image: a path, a Pillow image, an array (H, W, 3) uint8, or an `Image`.
            phrase: in English, for example "the ship on the left".
            threshold: the probability above which a pixel is foreground; the model's own rule when None.

        Raises:
            UserError: the image cannot be read, or phrase or threshold make no sense.
        """
        return self.batch([image], [phrase], threshold=threshold)[0]

    def batch(
        self,
        images: Sequence[ImageSource],
        phrases: Sequence[str],
        *,
        threshold: float | None = None,
        batch_size: int | None = None,
    ) -> list[Result]:
        """The answers to pairs: the first phrase about the first image, the second about the second, and so on.

        The answers do not depend on what else is in the batch, but for rounding: next to nothing in float32, and in
        bfloat16 a few pixels of edges. See `__call__` for the arguments.

        Raises:
            UserError: as `__call__`, or the lists differ in length.
        """
        if isinstance(images, (str, Path)) or isinstance(phrases, str):
            raise UserError("batch takes lists: one phrase for each image")
        if len(images) != len(phrases):
            raise UserError(f"batch takes one phrase for each image, not {len(phrases)} for {len(images)}")
        return list(self.stream(zip(images, phrases, strict=True), threshold=threshold, batch_size=batch_size))

    def stream(
        self,
        questions: Iterable[tuple[ImageSource, str]],
        *,
        threshold: float | None = None,
        batch_size: int | None = None,
    ) -> Iterator[Result]:
        """`batch` for any number of (image, phrase) pairs, of which only some are in memory at a time.

        Put the questions about one image side by side: it is then read once, and what the model makes of it without a
        phrase serves all that run together. `batch_size` questions do, whichever images they are about; when None,
        those of one image on a CPU, and 4 elsewhere. A CPU of several cores works on a few batches side by side if the
        model is small.
        """
        check_threshold(threshold)
        for results in self._each(partial(self._results, threshold=threshold), questions, batch_size):
            yield from results

    def probabilities(
        self, questions: Iterable[tuple[ImageSource, str]], *, batch_size: int | None = None
    ) -> Iterator[Probability]:
        """What `stream` decides upon: for callers that join the answers about parts of a larger image."""
        for found in self._each(self._probabilities, questions, batch_size):
            yield from found

    def _each(
        self, work: Callable[[_Batch], Made], questions: Iterable[tuple[ImageSource, str]], batch_size: int | None
    ) -> Iterator[Made]:
        """What is made of each batch."""
        if batch_size is not None and batch_size < 1:
            raise UserError(f"the batch size is at least 1, not {batch_size}")
        one_image = batch_size is None and self._one_image_at_a_time
        batches = _batches(questions, batch_size or self.batch_size, one_image=one_image)
        workers = self._backend.images_at_once if self._one_image_at_a_time else 1
        return side_by_side(work, batches, workers=workers, pool=self._backend.pool)

    def _probabilities(self, batch: _Batch) -> list[Probability]:
        images = [image for image, phrases in batch for _ in phrases]
        found = []
        for answer, image in zip(self._ask(batch), images, strict=True):
            _, values = self._to_pixels(answer, image, None)
            score = float(values.max()) if answer.score is None else answer.score
            found.append(Probability(values, answer.present, score, answer.boxes))
        return found

    def _results(self, batch: _Batch, threshold: float | None) -> list[Result]:
        began = time.perf_counter()
        questions = [(image, phrase) for image, phrases in batch for phrase in phrases]
        answers = self._ask(batch)
        masks = [
            self._to_pixels(answer, image, threshold) for answer, (image, _) in zip(answers, questions, strict=True)
        ]
        seconds = (time.perf_counter() - began) / len(questions)
        results = []
        for answer, (mask, probability), (image, phrase) in zip(answers, masks, questions, strict=True):
            present = answer.present and bool(mask.any())
            score = answer.score
            if score is None:
                score = float(probability[mask].mean()) if present else 0.0
            results.append(
                Result(
                    image=image,
                    phrase=phrase,
                    model=self.name,
                    mask=mask if present else np.zeros_like(mask),
                    probability=probability,
                    score=score,
                    present=present,
                    seconds=seconds,
                    steps=answer.steps,
                )
            )
        return results

    def _ask(self, batch: _Batch) -> list[Said]:
        return self._backend.answer([image.rgb for image, _ in batch], [phrases for _, phrases in batch])

    def _to_pixels(
        self, said: Said, image: Image, threshold: float | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The mask and the probabilities (H, W) of an answer; pixels without data are background."""
        logits = said.logits_at(image.height, image.width)
        probability = self._backend.probability(logits)
        # Thresholds are plain numbers, so that NumPy compares in float32.
        mask = logits > float(self._backend.mask_threshold) if threshold is None else probability > float(threshold)
        if image.valid is not None:
            mask &= image.valid
            probability *= image.valid
        return mask, probability


def _batches(questions: Iterable[tuple[ImageSource, str]], size: int, *, one_image: bool) -> Iterator[_Batch]:
    """`size` questions together, or fewer: at the end, before a bad one, and between images when `one_image`."""
    batch: _Batch = []
    try:
        for image, phrase in _read_in_turn(questions):
            if batch and image is batch[-1][0]:
                batch[-1][1].append(phrase)
            else:
                if batch and one_image:
                    yield batch
                    batch = []
                batch.append((image, [phrase]))
            if sum(len(phrases) for _, phrases in batch) == size:
                yield batch
                batch = []
    except UserError:
        if batch:  # what was asked before the mistake is answered before it is told
            yield batch
        raise
    if batch:
        yield batch


def _read_in_turn(questions: Iterable[tuple[ImageSource, str]]) -> Iterator[tuple[Image, str]]:
    """Images instead of their sources; neighbours with the same source get the same `Image`."""
    previous: tuple[ImageSource, Image] | None = None
    for source, phrase in questions:
        phrase = check_phrase(phrase)
        if previous is None or not _are_same(source, previous[0]):
            previous = (source, read_image(source))
        yield previous[1], phrase


def _are_same(source: ImageSource, other: ImageSource) -> bool:
    """Whether two sources are the same object, or the same path."""
    return source is other or (isinstance(source, (str, Path)) and type(source) is type(other) and source == other)
