"""An exported model as what a `Segmenter` drives: ONNX Runtime and NumPy, without PyTorch."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refersat.backend import Said
from refersat.errors import UserError
from refersat.export.manifest import MANIFEST_FILE, read_export
from refersat.export.sessions import Run, joined, open_session
from refersat.export.views import normalised, resized, square
from refersat.memory import LARGE_MODEL
from refersat.models.steps import RS2Sam2Steps
from refersat.text.tokenizer import PhraseTokenizer
from refersat.threads import usable_threads

BESIDE = 4
"""Images that are answered side by side, all with the same threads: a graph's small steps leave some of them idle."""


def check_options(device: str, dtype: str) -> None:
    """See that an exported model can be had as asked for.

    Raises:
        UserError: it cannot.
    """
    if device not in ("auto", "cpu"):
        raise UserError(
            f"exported models run on the CPU, not on {device}: give --device cpu, or the model that was exported"
        )
    if dtype not in ("auto", "float32"):
        raise UserError(
            f"exported models compute in float32, not in {dtype}: give --dtype float32, or the model that was exported"
        )


@dataclass(frozen=True)
class Cpu:
    """The processor, where no PyTorch has a word for it."""

    type: str = "cpu"

    def __str__(self) -> str:
        """As `torch.device` says it."""
        return self.type


class OnnxBackend:
    """An exported model as a `Backend`. Each pair of image and phrase is computed by itself: graphs share no work.

    Args:
        about: its manifest.
        run: all graphs as one, from arrays by their names to arrays by their names.
        tokenizer: of its phrases.
        threads: that `run` takes.
    """

    device = Cpu()
    dtype = "float32"
    number_format = "float32"
    phrases_at_once = 1

    def __init__(self, about: Mapping[str, Any], run: Run, tokenizer: PhraseTokenizer, *, threads: int) -> None:
        self.parameters: int = about["model"]["parameters"]
        self.mask_threshold: float = about["answer"]["mask_threshold"]
        self._two_class: bool = about["answer"]["two_class_logit"]
        self._present_from: float | None = about["answer"]["presence_threshold"]
        self._images: Mapping[str, Any] = about["images"]
        self._run = run
        self._tokenizer = tokenizer
        self._threads = threads

    @classmethod
    def open(cls, folder: Path) -> OnnxBackend:
        """Open the graphs of a folder.

        Raises:
            UserError: they are no ONNX, something is missing or damaged, or ONNX Runtime is not installed.
        """
        about = read_export(folder)
        if about.get("format") != "onnx":
            raise UserError(
                f"{folder} holds exported programs for PyTorch, which refersat does not run: export the model again, "
                f"with --format onnx"
            )
        if importlib.util.find_spec("onnxruntime") is None:
            raise UserError("exported models need onnxruntime: pip install 'refersat[onnx]'")
        threads = usable_threads()
        try:
            words = about["tokenizer"]
            tokenizer = PhraseTokenizer(folder / words["file"], max_length=words["longest"])
            return cls(about, _open_all(folder, about["graphs"], threads), tokenizer, threads=threads)
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{folder / MANIFEST_FILE} is damaged or of another version of refersat: export the model again"
            ) from error

    @property
    def images_at_once(self) -> int:
        """One for a large model: its layers keep all cores busy, and take gigabytes."""
        return min(BESIDE, self._threads) if self.parameters < LARGE_MODEL else 1

    def pool(self, workers: int) -> ThreadPoolExecutor:
        """Plain threads: those of ONNX Runtime serve all of them."""
        return ThreadPoolExecutor(workers)

    def probability(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """A sigmoid; see `RS2Sam2Model.probability`."""
        plain = 2 * logits - 1 if self._two_class else logits
        return _sigmoid(plain)

    def answer(self, images: Sequence[NDArray[np.uint8]], phrases: Sequence[Sequence[str]]) -> list[Said]:
        """One run for all; see `Backend.answer`."""
        counts = [len(asked) for asked in phrases]
        ids, mask = self._tokenizer.arrays([phrase for asked in phrases for phrase in asked])
        values: dict[str, NDArray[Any]] = {"input_ids": ids, "attention_mask": mask}
        planes = [normalised(image, self._images["mean"], self._images["std"]) for image in images]
        for name, side in self._images["sides"].items():
            views = np.stack([square(each, side, antialias=self._images["antialias"]) for each in planes])
            values[name] = np.repeat(views, counts, axis=0)
        return self._said(self._run(values), sum(counts))

    def _said(self, known: Mapping[str, NDArray[Any]], count: int) -> list[Said]:
        """Of what the graphs gave for so many pairs."""
        threshold = self._present_from
        scores = None if threshold is None else _sigmoid(known["presence_logits"]).tolist()
        pseudo, found = (
            _sigmoid(known[name]) if name in known else None for name in ("pseudo_mask_logits", "candidate_logits")
        )
        return [
            Said(
                partial(resized, known["logits"][index, 0]),
                present=threshold is None or scores is None or scores[index] >= threshold,
                score=None if scores is None else scores[index],
                steps=RS2Sam2Steps(
                    None if pseudo is None else pseudo[index, 0], None if found is None else found[index, 0]
                ),
            )
            for index in range(count)
        ]


def _open_all(folder: Path, rows: Sequence[Mapping[str, Any]], threads: int) -> Run:
    """All graphs as one; opened side by side, which takes two thirds of the time on two cores.

    Raises:
        UserError: a file is missing or damaged.
    """

    def opened(row: Mapping[str, Any]) -> Run:
        path, takes, gives = folder / row["file"], list(row["inputs"]), list(row["outputs"])
        simplified: bool = row["simplified"]
        if not path.is_file():
            raise UserError(f"{folder} lacks {path.name}: export the model again, or copy the whole folder")
        try:
            return open_session(path, takes, gives, threads=threads, simplified=simplified)
        except Exception as error:  # the many errors of ONNX Runtime share no other base
            raise UserError(
                f"ONNX Runtime cannot open {path}, which is damaged or too new for it: export the model again "
                f"({' '.join(str(error).split())})"
            ) from error

    with ThreadPoolExecutor(len(rows)) as pool:
        return joined(list(pool.map(opened, rows)))


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of float32, any shape."""
    with np.errstate(over="ignore"):  # what is far below gives 1 / (1 + infinity), which is right
        return np.float32(1) / (np.float32(1) + np.exp(-values))
