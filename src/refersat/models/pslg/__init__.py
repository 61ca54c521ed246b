"""PSLG-SAM: a grounder finds the box that a phrase means, SAM segments it without having been trained for it.

Source: Li, Wang, Xie, Sun, "Semantic Localization Guiding Segment Anything Model For Reference Remote Sensing Image
Segmentation" (arXiv 2506.10503). Its code was never published; what the paper leaves open is an option of
`foreground.PointOptions` and `boundary.BoundaryOptions`.
"""

from __future__ import annotations

from pathlib import Path

PSLG_FILE = "pslg.json"
GROUNDER_FOLDER = "grounder"
SAM_FOLDER = "sam"


def is_pslg(folder: Path) -> bool:
    """Whether a folder holds a PSLG-SAM, be it an incomplete one."""
    return (folder / PSLG_FILE).is_file()
