"""Images and phrases to results: resize, run in batches, resize back, threshold."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from refersat.device import LARGE_WEIGHTS, choose_device, choose_dtype
from refersat.errors import UserError
from refersat.imagery import Image, ImageSource, read_image
from refersat.models.preprocess import preprocess
from refersat.question import check_phrase, check_threshold
from refersat.result import Result

if TYPE_CHECKING:
    from refersat.models.loading import LoadedModel


def load(name_or_folder: str | Path = "built-in", *, device: str = "auto", dtype: str = "auto") -> Segmenter:
    """Load a model: a name that `refersat models list` shows, or a folder.

    Args:
        name_or_folder: for example "built-in", "rs2sam2-rrsisd" or "path/to/folder".
        device: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:1" or "mps".
        dtype: "auto", "float32" or "bfloat16"; see `refersat.device.choose_dtype`.

    Raises:
        UserError: no such model, device or dtype, or the model's files are incomplete.
    """
    from refersat.models.loading import load_model

    where = choose_device(device)
    number_format = choose_dtype(dtype, where, large=_is_large(name_or_folder))
    return Segmenter(load_model(name_or_folder, device=where, dtype=number_format), device=where, dtype=number_format)


def _is_large(name_or_folder: str | Path) -> bool:
    """Whether a model has so many weights that reading them from memory takes most of its time."""
    from refersat.models import zoo

    if isinstance(name_or_folder, str) and zoo.is_name(name_or_folder):
        return name_or_folder != zoo.BUILT_IN
    files = (path for kind in ("*.safetensors", "*.bin") for path in Path(name_or_folder).glob(kind))
    return sum(path.stat().st_size for path in files) > LARGE_WEIGHTS


class Segmenter:
    """A loaded model, ready for images and phrases.

    Args:
        loaded: the model with its tokenizer and name.
        device: where the model is.
        dtype: the number format it is in.
    """

    def __init__(self, loaded: LoadedModel, *, device: torch.device, dtype: torch.dtype) -> None:
        self.name = loaded.name
        self.device = device
        self.dtype = dtype
        self._model = loaded.model
        self._tokenizer = loaded.tokenizer
        self._config = loaded.model.config

    @property
    def threshold(self) -> float:
        """The probability above which a pixel is foreground when no other is asked for."""
        return float(self._model.probability(torch.tensor(self._config.mask_threshold)))

    @property
    def parameters(self) -> int:
        """Number of the model's parameters."""
        return sum(parameter.numel() for parameter in self._model.parameters())

    @property
    def batch_size(self) -> int:
        """Questions per forward pass when not told: batches gain nothing on a CPU."""
        return 1 if self.device.type == "cpu" else 4

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

        The answers do not depend on what else is in the batch. See `__call__` for the arguments.

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
        """`batch` for any number of (image, phrase) pairs: only one batch of them is in memory at a time.

        Put the questions about one image side by side: it is then read once.
        """
        check_threshold(threshold)
        size = self.batch_size if batch_size is None else batch_size
        if size < 1:
            raise UserError(f"the batch size is at least 1, not {size}")
        ready = _read_in_turn(questions)
        while chunk := list(islice(ready, size)):
            yield from self._answer(chunk, threshold)

    def _answer(self, chunk: list[tuple[Image, str]], threshold: float | None) -> list[Result]:
        began = time.perf_counter()
        logits, presence = self._run(chunk)
        answers = [self._to_pixels(one, image, threshold) for one, (image, _) in zip(logits, chunk, strict=True)]
        seconds = (time.perf_counter() - began) / len(chunk)
        results = []
        for (mask, probability), score, (image, phrase) in zip(answers, presence, chunk, strict=True):
            if self._config.presence == "object_score":
                present = score >= self._config.presence_threshold and bool(mask.any())
            else:
                present = bool(mask.any())
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
                )
            )
        return results

    @torch.inference_mode()
    def _run(self, chunk: list[tuple[Image, str]]) -> tuple[Tensor, list[float]]:
        """Logits (B, S, S), float32 on the CPU, and the B probabilities of SAM 2's object score."""
        pixels, union_pixels = preprocess([image.rgb for image, _ in chunk], self._config)
        input_ids, attention_mask = self._tokenizer([phrase for _, phrase in chunk])
        try:
            output = self._model(
                pixels.to(self.device, self.dtype),
                union_pixels.to(self.device, self.dtype),
                input_ids.to(self.device),
                attention_mask.to(self.device),
            )
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"out of memory on {self.device} with {len(chunk)} at once: use a smaller --batch-size or --device cpu"
            ) from error
        return output.logits[:, 0].float().cpu(), output.presence_logits.float().sigmoid().tolist()

    @torch.inference_mode()
    def _to_pixels(
        self, logits: Tensor, image: Image, threshold: float | None
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Logits (S, S) to the mask and the probabilities (H, W); pixels without data are background."""
        size = (image.height, image.width)
        native = F.interpolate(logits[None, None], size, mode="bilinear", align_corners=False)[0, 0]
        probability = self._model.probability(native)
        mask = native > self._config.mask_threshold if threshold is None else probability > threshold
        if image.valid is not None:
            valid = torch.from_numpy(image.valid)
            mask &= valid
            probability *= valid
        return mask.numpy(), probability.numpy()


def _read_in_turn(questions: Iterable[tuple[ImageSource, str]]) -> Iterator[tuple[Image, str]]:
    previous: tuple[ImageSource, Image] | None = None
    for source, phrase in questions:
        phrase = check_phrase(phrase)
        same = previous is not None and (source is previous[0] or (isinstance(source, str) and source == previous[0]))
        image = previous[1] if previous is not None and same else read_image(source)
        previous = (source, image)
        yield image, phrase
