"""From a name or a folder to a grounder of any kind; a folder never touches the network."""

from __future__ import annotations

from pathlib import Path

import torch

from refersat.models.folder import CONFIG_FILE, read_description
from refersat.models.grounding.configuration import GroundingConfig
from refersat.models.grounding.grounder import Grounder
from refersat.models.grounding.mask_box import Around, MaskGrounder
from refersat.models.loading import load_model


def load_grounder(
    name_or_folder: str | Path, *, device: torch.device | str = "cpu", around: Around = "whole"
) -> Grounder:
    """Load a grounder: a language-query grounder's folder, Grounding DINO's, or any segmentation model.

    Args:
        name_or_folder: a folder with one of the first two, or what `load_model` takes: then its masks' boxes it is.
        device: where it is to run.
        around: of a mask.

    Raises:
        UserError: no such name or folder, or files that are missing, damaged or do not fit.
    """
    folder, device = Path(name_or_folder).expanduser(), torch.device(device)
    kind = read_description(folder).get("model_type") if (folder / CONFIG_FILE).is_file() else None
    if kind == GroundingConfig.model_type:
        from refersat.models.grounding.language_query import LanguageQueryGrounder

        return LanguageQueryGrounder.load(folder, device=device)
    if kind == "grounding-dino":
        from refersat.models.grounding.grounding_dino import GroundingDino

        return GroundingDino.load(folder, device=device)
    loaded = load_model(name_or_folder, device=device)
    return MaskGrounder(loaded.answerer(device=device, dtype=torch.float32, fast=True), around=around)
