"""Where the eye of a network that is to be trained comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refersat.errors import UserError
from refersat.models import zoo
from refersat.models.checkpoint import Checkpoint
from refersat.models.eye import PREFIX, Eye, digest_of, eye_config, open_eye
from refersat.models.folder import read_description
from refersat.training.initialise import Source, start_folder

_SAYS_NOTHING = ("model_type", "architectures", "transformers_version", "dtype", "torch_dtype")
"""Of a configuration, what is nothing to an eye."""


@dataclass(frozen=True)
class EyeSource:
    """The model that an eye is taken from.

    Attributes:
        folder: its folder.
        place: how a network that has the eye names the model.
        description: its configuration.
        sha256: of the eye's weights.
        source: of the eye's weights in the network that has it.
    """

    folder: Path
    place: str
    description: dict[str, Any]
    sha256: str
    source: Source


def eye_source(name: str, *, beside: Path = Path()) -> EyeSource:
    """The eye of a model.

    Args:
        name: of the model, or its folder, be it relative to `beside`.
        beside: a folder.

    Raises:
        UserError: there is no such model, or it has no eye.
    """
    known = zoo.is_name(name) and not (beside / name).is_dir()
    folder = start_folder(name if known else str((beside / Path(name).expanduser()).resolve()))
    description = {key: value for key, value in read_description(folder).items() if key not in _SAYS_NOTHING}
    try:
        eye = Eye(eye_config(description))
    except Exception as error:  # the many validators of Transformers share no other base
        raise UserError(f"init.model: {folder} has no eye to see with: {' '.join(str(error).split())}") from error
    open_eye(eye, str(folder.resolve()), "", folder=folder)
    names = {PREFIX + each: (each,) for each in eye.state_dict()}
    return EyeSource(
        folder=folder,
        place=name if known else str(folder),
        description=description,
        sha256=digest_of(eye),
        source=Source(f"{name}'s eye", Checkpoint.find(folder), names),
    )
