"""From a folder to a promptable network of any kind; the network is never touched."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from refersat.errors import UserError
from refersat.models.folder import CONFIG_FILE, read_description

if TYPE_CHECKING:
    import torch

    from refersat.models.prompted.segmenter import PromptedSegmenter

SAM2_TYPES = ("sam2", "sam2_video")
SAM1_TYPES = ("sam",)
OWN_TYPES = ("rs2sam2",)
COMPACT_TYPES = ("refersat-sam",)


def load_prompted(folder: Path, *, device: torch.device) -> PromptedSegmenter:
    """Load SAM 2, SAM, a compact SAM 2 of ours, or the SAM 2 inside an RS2-SAM 2.

    Raises:
        UserError: it is none of these, or something in the folder is missing, damaged, or does not fit.
    """
    kind = read_description(folder).get("model_type")
    if kind in SAM2_TYPES:
        from refersat.models.prompted.sam2 import Sam2

        return Sam2.load(folder, device=device)
    if kind in SAM1_TYPES:
        from refersat.models.prompted.sam1 import Sam1

        return Sam1.load(folder, device=device)
    if kind in OWN_TYPES:
        from refersat.models.prompted.own import OwnSam

        return OwnSam.load(folder, device=device)
    if kind in COMPACT_TYPES:
        from refersat.models.prompted.compact import CompactSam

        return CompactSam.load(folder, device=device)
    raise UserError(
        f"{folder / CONFIG_FILE} says model_type {json.dumps(kind)}; masks from boxes and points come from "
        f"{', '.join((*SAM2_TYPES, *SAM1_TYPES, *OWN_TYPES, *COMPACT_TYPES))}"
    )
