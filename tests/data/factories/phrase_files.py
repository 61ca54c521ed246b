"""Makes RefSegRS (PackBits TIFF, masks of three bands) and RISBench (PNG)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.data.factories.pictures import rectangle, save_mask, save_picture

SIZE = (24, 16)
"""Width and height of the pictures."""

REFSEGRS: Mapping[str, Sequence[tuple[str, str]]] = {
    "train": [("1", "vehicle in the parking area"), ("12", "road"), ("30", "low vegetation")],
    "val": [("402", "paved road")],
    "test": [("2600", "building along the road"), ("2601", "sidewalk")],
}

RISBENCH: Mapping[str, Sequence[tuple[str, str]]] = {
    "train": [("train_1.png", "The small vehicle located towards the bottom-right corner of the image.")],
    "val": [("train_2.png", "The harbor."), ("val_1.png", "The ship on the left.")],  # val names files of train
    "test": [("test_1.png", "The large bridge in the center of the image.")],
}


def truth(k: int) -> NDArray[np.bool_]:
    """Mask of the k-th sample: two patches, of which the left one moves."""
    return rectangle(*SIZE, k, 2, k + 3, 8) | rectangle(*SIZE, 15, 9, 20, 14)


def make_refsegrs(folder: Path, lines: Mapping[str, Sequence[tuple[str, str]]] = REFSEGRS) -> Path:
    """Write images/<id>.tif, masks/<id>.tif and output_phrase_<split>.txt; returns the folder."""
    return _make(folder, lines, "images", "masks", suffix=".tif", bands=3)


def make_risbench(folder: Path, lines: Mapping[str, Sequence[tuple[str, str]]] = RISBENCH) -> Path:
    """Write img_rgb/<name>.png, mask/<name>.png and output_phrase_<split>.txt; returns the folder."""
    return _make(folder, lines, "img_rgb", "mask", suffix="", bands=1)


def _make(
    folder: Path,
    lines: Mapping[str, Sequence[tuple[str, str]]],
    images: str,
    masks: str,
    *,
    suffix: str,
    bands: int,
) -> Path:
    k = 0
    for split, items in lines.items():
        for name, _ in items:
            save_picture(folder / images / f"{name}{suffix}", *SIZE, seed=k)
            save_mask(folder / masks / f"{name}{suffix}", truth(k), bands=bands)
            k += 1
        text = "".join(f"{name} {phrase}\n" for name, phrase in items)
        (folder / f"output_phrase_{split}.txt").write_text(text)
    return folder
