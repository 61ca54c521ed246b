"""Where the numbers of a report come from: which weights, which data, how it ran."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from refersat import __version__
from refersat.models.identity import model_files, model_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from refersat.evaluation.protocol import Protocol
    from refersat.evaluation.questions import QuestionList
    from refersat.segmenter import Segmenter


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
            dtype=segmenter.number_format,
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
