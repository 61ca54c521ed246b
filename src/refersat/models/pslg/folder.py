"""A PSLG-SAM on disk: a folder with pslg.json, which says where its two networks are and what was chosen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, ValidationError

from refersat.errors import UserError
from refersat.models.folder import CONFIG_FILE, read_description, read_json
from refersat.models.pslg import GROUNDER_FOLDER, PSLG_FILE, SAM_FOLDER, is_pslg
from refersat.models.pslg.options import PslgOptions

if TYPE_CHECKING:
    import torch

    from refersat.models.grounding.grounder import Grounder
    from refersat.models.prompted.segmenter import PromptedSegmenter
    from refersat.models.pslg.system import PslgSam


class PslgDescription(PslgOptions):
    """The content of pslg.json: the networks and the options, all of which may be left out.

    Paths are relative to the folder that holds the file, or absolute.
    """

    grounder: str = Field(
        GROUNDER_FOLDER,
        description="folder of a grounder, Grounding DINO or any model; or a model's name",
    )
    sam: str = Field(SAM_FOLDER, description="folder of SAM 2, SAM, or an RS2-SAM 2 trained to be prompted")

    def save(self, folder: Path) -> None:
        """Write `pslg.json` into a folder, with every choice that is not the default."""
        content = self.model_dump(exclude_defaults=True) | {"grounder": self.grounder, "sam": self.sam}
        (folder / PSLG_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> PslgDescription:
        """The one in a folder.

        Raises:
            UserError: it cannot be read, or says what makes no sense.
        """
        path = folder / PSLG_FILE
        try:
            return cls.model_validate(read_json(path), strict=True)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UserError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from error

    def grounder_place(self, folder: Path) -> str | Path:
        """The grounder's folder, or the name of the model that serves as one."""
        from refersat.models import zoo

        place = folder / Path(self.grounder).expanduser()
        return self.grounder if not place.is_dir() and zoo.is_name(self.grounder) else place

    def sam_place(self, folder: Path) -> Path:
        """SAM's folder."""
        return folder / Path(self.sam).expanduser()


def network_folders(folder: Path) -> dict[str, Path]:
    """Name of each network of a PSLG-SAM -> where its files are.

    Raises:
        UserError: pslg.json makes no sense, or a network is missing.
    """
    from refersat.models.loading import locate

    description = PslgDescription.read(folder)
    grounder, sam = description.grounder_place(folder), description.sam_place(folder)
    if isinstance(grounder, Path) and not grounder.is_dir():
        raise UserError(
            f"{folder} has no grounder, and nobody published weights of one: train it (docs/how-to/pslg-sam.md) "
            f'or take a folder of Grounding DINO, and name it in {folder / PSLG_FILE} as "grounder"'
        )
    if not sam.is_dir():
        raise UserError(f'{folder} has no SAM: there is no {sam}; name its folder in {folder / PSLG_FILE} as "sam"')
    return {"grounder": grounder if isinstance(grounder, Path) else locate(grounder)[0], "sam": sam}


def load(folder: Path, *, device: torch.device) -> PslgSam:
    """Load a PSLG-SAM from its folder; the network is never touched.

    Raises:
        UserError: something is missing, damaged, or does not fit.
    """
    from refersat.models.grounding.loading import load_grounder
    from refersat.models.prompted.loading import load_prompted
    from refersat.models.pslg.system import PslgSam

    places = network_folders(folder)
    description = PslgDescription.read(folder)
    if is_pslg(places["grounder"]):
        raise UserError(f"{places['grounder']} is a PSLG-SAM itself: name a grounder in {folder / PSLG_FILE}")
    options = description
    if description.presence_threshold is None and (places["grounder"] / CONFIG_FILE).is_file():
        own = read_description(places["grounder"]).get("presence_threshold")
        if isinstance(own, float | int):
            options = description.model_copy(update={"presence_threshold": float(own)})
    grounder, sam = load_grounder(places["grounder"], device=device), load_prompted(places["sam"], device=device)
    return PslgSam(grounder, sam, options, shared=_share_eye(grounder, sam))


def _share_eye(grounder: Grounder, sam: PromptedSegmenter) -> int:
    """Let both see with one eye, where both have the same: an image is then looked at once. Its parameters, or 0."""
    from refersat.models.grounding.language_query import LanguageQueryGrounder
    from refersat.models.prompted.compact import CompactSam

    if not isinstance(grounder, LanguageQueryGrounder) or not isinstance(sam, CompactSam):
        return 0
    ours, theirs = grounder.model.config, sam.model.config
    if not ours.eye_sha256 or ours.eye_sha256 != theirs.eye_sha256 or ours.image_size != sam.model.eye.side:
        return 0
    sam.model.eye = grounder.model.eye
    return sum(parameter.numel() for parameter in sam.model.eye.parameters())
