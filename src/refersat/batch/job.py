"""What a batch shall do with each of its rows, told to every worker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from refersat import __version__
from refersat.errors import UserError
from refersat.question import check_threshold
from refersat.radiometry import Stretch
from refersat.scene.options import DEFAULT_TILE, SceneOptions

if TYPE_CHECKING:
    from refersat.segmenter import Segmenter

KINDS = ("auto", "image", "scene")

SCENE_FROM = 2 * DEFAULT_TILE
"""Pixels of the longer side above which `auto` takes an image for a scene: answered in tiles, not reduced at once."""


def _load(job: Job) -> Segmenter:
    import refersat

    return refersat.load(job.model, device=job.device, dtype=job.dtype)


@dataclass(frozen=True)
class Job:
    """What every worker must know.

    Attributes:
        out: the batch's folder, absolute; all workers see it.
        model, device, dtype: as for `refersat.load`.
        weights: digests of the model's files; workers whose model differs refuse. Empty: not checked.
        kind: "image", "scene", or "auto": by size, see `SCENE_FROM`.
        threshold: probability above which a pixel is foreground; the model's own when None.
        batch_size: questions that the model answers at once; its own when None.
        bands: one or three band numbers from 1.
        stretch: of scenes; see `refersat.Scene`.
        scene: how to look at scenes.
        threads: CPU threads of each worker; PyTorch's own choice when None.
        load: makes the model; tests put a small one here.

    Raises:
        UserError: a value makes no sense.
    """

    out: Path
    model: str = "built-in"
    device: str = "auto"
    dtype: str = "auto"
    weights: Mapping[str, str] = field(default_factory=dict)
    kind: str = "auto"
    threshold: float | None = None
    batch_size: int | None = None
    bands: tuple[int, ...] | None = None
    stretch: Stretch = None
    scene: SceneOptions = field(default_factory=lambda: SceneOptions(format="geojson"))
    threads: int | None = None
    load: Callable[[Job], Segmenter] = _load

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"--as is one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.threads is not None and self.threads < 1:
            raise UserError(f"--threads is at least 1, not {self.threads}")
        check_threshold(self.threshold)

    def pins(self) -> dict[str, Any]:
        """All that answers depend on, as messages call it."""
        scene = {f"--{name.replace('_', '-')}": value for name, value in vars(self.scene).items()}
        return {
            "the version of refersat": __version__,
            "the model": [self.model, dict(self.weights)],
            "--device": self.device,
            "--dtype": self.dtype,
            "--as": self.kind,
            "--bands": self.bands,
            "--stretch": self.stretch,
            **scene,
            "--threshold": self.threshold,
            "--batch-size": self.batch_size,
        }


def weights_of(model: str) -> dict[str, str]:
    """The digests of a model's files, by their names.

    Raises:
        UserError: there is no such model here.
    """
    from refersat.models import zoo
    from refersat.models.identity import model_files, model_folder

    folder = model_folder(model)
    if not folder.is_dir():
        if zoo.is_name(model):
            raise UserError(f"{model} is not on this machine: refersat models fetch {model}")
        raise UserError(f"no such model folder: {folder} (`refersat models list` shows names)")
    weights, descriptions = model_files(folder)
    return weights | descriptions
