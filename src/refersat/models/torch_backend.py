"""A model in PyTorch as what a `Segmenter` drives."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial, reduce
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from refersat.backend import Said
from refersat.device import INT8
from refersat.errors import UserError
from refersat.models.torch_threads import sharing_pool

if TYPE_CHECKING:
    from refersat.models.answering import Answerer
    from refersat.models.loading import Loaded


class TorchBackend:
    """An `Answerer` as a `Backend`.

    Args:
        answerer: the model, ready to run.
        device: where it is.
        int8: whether weights are kept in 8 bits.
    """

    def __init__(self, answerer: Answerer, *, device: torch.device, int8: bool = False) -> None:
        self.answerer = answerer
        self.device = device
        self._int8 = int8

    @classmethod
    def of(
        cls, loaded: Loaded, *, device: torch.device, dtype: torch.dtype, fast: bool = False, int8: bool = False
    ) -> TorchBackend:
        """Of a loaded model; see `Loaded.answerer`, and `check_int8` for what cannot be."""
        return cls(loaded.answerer(device=device, dtype=dtype, fast=fast, int8=int8), device=device, int8=int8)

    @property
    def parameters(self) -> int:
        """The answerer's."""
        return self.answerer.parameters

    @property
    def dtype(self) -> torch.dtype:
        """The answerer's."""
        return self.answerer.dtype

    @property
    def number_format(self) -> str:
        """`dtype`, and how weights are kept."""
        computing = str(self.dtype).removeprefix("torch.")
        return f"{INT8} in {computing}" if self._int8 else computing

    @property
    def mask_threshold(self) -> float:
        """The answerer's."""
        return self.answerer.mask_threshold

    @property
    def phrases_at_once(self) -> int:
        """The answerer's."""
        return self.answerer.phrases_at_once

    @property
    def images_at_once(self) -> int:
        """The answerer's, but no more than there are threads."""
        return min(self.answerer.images_at_once, torch.get_num_threads())

    def pool(self, workers: int) -> ThreadPoolExecutor:
        """See `sharing_pool`: layers of a small model are too short for several cores."""
        return sharing_pool(workers)

    @torch.inference_mode()
    def probability(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The answerer's."""
        found: NDArray[np.float32] = self.answerer.probability(torch.from_numpy(logits)).numpy()
        return found

    @torch.inference_mode()
    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Said]:
        """The answerer's; see `Backend.answer`."""
        try:
            answers = self.answerer.answer(images, phrases)
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"out of memory on {self.device} with {sum(map(len, phrases))} at once: use a smaller --batch-size or "
                f"--device cpu"
            ) from error
        return [
            Said(partial(_union_at, one.logits), one.present, one.score, steps=one.steps, boxes=one.boxes)
            for one in answers
        ]


@torch.inference_mode()
def _union_at(logits: Tensor, height: int, width: int) -> NDArray[np.float32]:
    """Masks (K, h, w) -> (H, W), their union, at a size."""
    size = (height, width)
    # One after the other: at the image's own size, many instances would not fit into memory together.
    union: NDArray[np.float32] = reduce(
        torch.maximum,
        (F.interpolate(one[None, None], size, mode="bilinear", align_corners=False)[0, 0] for one in logits),
    ).numpy()
    return union
