"""Where the numbers of a report come from: which weights, which data, how it ran."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from refersat import __version__
from refersat.models import store, zoo
from refersat.models.checkpoint import Checkpoint

if TYPE_CHECKING:
    from refersat.data.samples import SampleSet
    from refersat.evaluation.protocol import Protocol
    from refersat.evaluation.run import Evaluation
    from refersat.segmenter import Segmenter


def provenance_of(
    segmenter: Segmenter,
    evaluation: Evaluation,
    *,
    model: str,
    protocols: Sequence[Protocol],
    data: str,
    data_set: SampleSet,
    threshold: float | None,
    batch_size: int | None,
    limit: int | None,
) -> dict[str, object]:
    """What `metrics.json` records beside the numbers; `model` and `data` as they were asked for.

    `threshold`, `batch_size` and `limit` are None where the model's own, the device's own, or no limit was taken.
    """
    return {
        "model": {
            "name": segmenter.name,
            "parameters": segmenter.parameters,
            "weights_sha256": weights_sha256(model_folder(model)),
        },
        "data": {
            "source": data,
            "split": data_set.split,
            "samples": len(data_set.samples),
            "limit": limit,
            "fingerprint": data_set.fingerprint,
        },
        "run": {
            "refersat": __version__,
            "device": str(segmenter.device),
            "dtype": str(segmenter.dtype).removeprefix("torch."),
            "batch_size": segmenter.batch_size if batch_size is None else batch_size,
            "threshold": segmenter.threshold if threshold is None else threshold,
            "seconds_per_sample": evaluation.model_seconds / len(evaluation.rows) if evaluation.rows else None,
            "machine": f"{platform.system()} {platform.machine()}",
        },
        "protocols": {protocol.name: protocol.definition for protocol in protocols},
    }


def model_folder(model: str) -> Path:
    """Where the files of a model lie, by its name or folder."""
    if not zoo.is_name(model):
        return Path(model).expanduser()
    return zoo.built_in_folder() if model == zoo.BUILT_IN else store.model_folder(model)


def weights_sha256(folder: Path) -> Mapping[str, str]:
    """File name -> sha256 of the file, of every file that holds weights.

    Raises:
        UserError: the folder holds no weights.
    """
    files = {entry.file for entry in Checkpoint.find(folder).entries.values()}
    return {file.name: store.sha256(file) for file in sorted(files)}
