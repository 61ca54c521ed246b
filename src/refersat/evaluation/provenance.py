"""Where the numbers of a report come from: which weights, which data, how it ran."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat import __version__
from refersat.models import store, zoo
from refersat.models.checkpoint import Checkpoint
from refersat.models.folder import CONFIG_FILE
from refersat.models.pslg import PSLG_FILE, is_pslg
from refersat.models.pslg.folder import network_folders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refersat.evaluation.protocol import Protocol
    from refersat.evaluation.questions import QuestionList
    from refersat.segmenter import Segmenter

_DESCRIPTIONS = {".json", ".txt", ".model", ".spm"}
"""Suffixes of the files beside the weights that change what a model answers: configuration and tokenizer."""


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a loaded model.

    Attributes:
        name: its name, or that of its folder.
        parameters: how many.
        weights_sha256: file name -> digest, of every file that holds weights.
        descriptions_sha256: the same of its configuration and tokenizer.
        device, dtype: where and in which number format it runs.
        batch_size: samples that it answers at once.
        threshold: probability above which a pixel is foreground.
    """

    name: str
    parameters: int
    weights_sha256: Mapping[str, str]
    descriptions_sha256: Mapping[str, str]
    device: str
    dtype: str
    batch_size: int
    threshold: float

    @classmethod
    def of(cls, segmenter: Segmenter, model: str, *, batch_size: int | None, threshold: float | None) -> ModelFacts:
        """Of a segmenter loaded as `model`; `batch_size` and `threshold` are None where its own are taken.

        Raises:
            UserError: the model's folder holds no weights.
        """
        weights, descriptions = model_files(model_folder(model))
        return cls(
            name=segmenter.name,
            parameters=segmenter.parameters,
            weights_sha256=weights,
            descriptions_sha256=descriptions,
            device=str(segmenter.device),
            dtype=str(segmenter.dtype).removeprefix("torch."),
            batch_size=segmenter.batch_size if batch_size is None else batch_size,
            threshold=segmenter.threshold if threshold is None else threshold,
        )


def pins(facts: ModelFacts, questions: QuestionList, protocols: Sequence[Protocol]) -> dict[str, Any]:
    """Everything that the rows of an evaluation depend on, as plain values.

    Not among it: the batch size and the number of processes, which change nothing.
    """
    return {
        "refersat": __version__,
        "model": [facts.weights_sha256, facts.descriptions_sha256],
        "data": [
            [name, data.split, data.fingerprint] for name, data in zip(questions.names, questions.sets, strict=True)
        ],
        "limit": questions.limit,
        "protocols": [protocol.name for protocol in protocols],
        "threshold": facts.threshold,
        "device": facts.device.partition(":")[0],
        "dtype": facts.dtype,
    }


def provenance_of(
    facts: ModelFacts, questions: QuestionList, protocols: Sequence[Protocol], *, processes: int
) -> dict[str, Any]:
    """What `metrics.json` records beside the numbers."""
    first = questions.sets[0]
    return {
        "model": {"name": facts.name, "parameters": facts.parameters, "weights_sha256": dict(facts.weights_sha256)},
        "data": {
            "source": ", ".join(questions.sources),
            "split": first.split,
            "samples": sum(len(data.samples) for data in questions.sets),
            "limit": questions.limit,
            "fingerprint": questions.fingerprint,
            "sets": [
                {
                    "name": name,
                    "source": source,
                    "split": data.split,
                    "samples": len(data.samples),
                    "fingerprint": data.fingerprint,
                }
                for name, source, data in zip(questions.names, questions.sources, questions.sets, strict=True)
            ],
        },
        "run": {
            "refersat": __version__,
            "device": facts.device,
            "dtype": facts.dtype,
            "batch_size": facts.batch_size,
            "processes": processes,
            "threshold": facts.threshold,
            "machine": f"{platform.system()} {platform.machine()}",
        },
        "protocols": {protocol.name: protocol.definition for protocol in protocols},
    }


def model_folder(model: str) -> Path:
    """Where the files of a model lie, by its name or folder."""
    return zoo.folder_of(model) if zoo.is_name(model) else Path(model).expanduser()


def model_files(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """File name -> sha256: of the files that hold weights, and of those that describe model and tokenizer.

    A model of several parts has one subfolder for each; those of a PSLG-SAM may be elsewhere.

    Raises:
        UserError: the folder holds no weights.
    """
    if is_pslg(folder):
        own = {PSLG_FILE: store.sha256(folder / PSLG_FILE)}
        parts = {name: model_files(place) for name, place in network_folders(folder).items()}
        weights, descriptions = (
            {f"{name}/{file}": digest for name, files in parts.items() for file, digest in files[kind].items()}
            for kind in (0, 1)
        )
        return weights, own | descriptions
    return _files_of_networks(folder)


def _files_of_networks(folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    parts = sorted(path.parent for path in folder.glob(f"*/{CONFIG_FILE}"))
    if not parts or (folder / CONFIG_FILE).is_file():
        parts = [folder]
    weights = {entry.file for part in parts for entry in Checkpoint.find(part).entries.values()}
    beside = {file for part in parts for file in part.iterdir() if file.suffix in _DESCRIPTIONS} - weights
    descriptions = {file for file in beside if file.is_file() and file.name != zoo.CARD_FILE}

    def digests(files: set[Path]) -> dict[str, str]:
        return {file.relative_to(folder).as_posix(): store.sha256(file) for file in sorted(files)}

    return digests(weights), digests(descriptions)
