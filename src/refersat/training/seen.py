"""What a frozen eye sees in many views, looked at once and kept on disk: from then on a step costs no look.

A network behind an eye that does not change can be shown the same views any number of times, and asked something else
about them each time. Recipes that look at the same views with the same eye may share what it saw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from refersat.data.coco import CocoImage
from refersat.errors import UserError
from refersat.models.eye import Eye, Sight, digest_of
from refersat.output import output_folder, write_file
from refersat.training.generated import PhraseSampler

KEY_FILE = "seen.json"
_KEY_LENGTH = 12


@dataclass(frozen=True)
class SeenView:
    """A view that was looked at: its outlined objects, and the categories of the whole image."""

    scene: CocoImage
    context: frozenset[str]


class SeenViews:
    """Views and what an eye saw in them.

    Args:
        folder: of these views; holds one array (count, C, h, w) for each map of a `Sight`, in half precision.
        views: in their order.
    """

    def __init__(self, folder: Path, views: Sequence[SeenView]) -> None:
        self.views = views
        self._arrays = [np.load(file, mmap_mode="r") for file in _files(folder)]

    def sight(self, numbers: Sequence[int]) -> Sight:
        """What was seen in some of the views, in float32."""
        return Sight(*(torch.from_numpy(array[list(numbers)].astype(np.float32)) for array in self._arrays))


def key_of(eye: Eye, sampler: PhraseSampler, *, count: int, image_size: int) -> str:
    """Says whether two looks are the same: of the same views, with the same eye."""
    sought = {**sampler.views_are_of(), "count": count, "image_size": image_size, "eye": digest_of(eye)}
    return hashlib.sha256(json.dumps(sought, sort_keys=True, default=str).encode()).hexdigest()


@torch.no_grad()
def look(
    eye: Eye,
    sampler: PhraseSampler,
    folder: Path,
    *,
    count: int,
    image_size: int,
    precision: torch.autocast,
    advance: Callable[[int], None] = lambda done: None,
) -> None:
    """Keep what an eye sees in the first `count` views of a sampler, unless it is kept already.

    Raises:
        UserError: an image cannot be read, or the folder not be written to.
    """
    key = key_of(eye, sampler, count=count, image_size=image_size)
    folder = folder / key[:_KEY_LENGTH]  # others may be learning from other views
    if _key_in(folder) == key:
        return
    device = next(eye.parameters()).device
    arrays: list[NDArray[np.float16]] = []
    with output_folder(folder):
        (folder / KEY_FILE).unlink(missing_ok=True)
        for number, (shown, _) in enumerate(sampler.scenes(count)):
            with precision:
                maps = eye(eye.view(shown.pixels, image_size).to(device)).maps
            if not arrays:
                arrays = [
                    open_memmap(file, mode="w+", dtype=np.float16, shape=(count, *each.shape[1:]))
                    for file, each in zip(_files(folder), maps, strict=True)
                ]
            for array, each in zip(arrays, maps, strict=True):
                array[number] = each[0].half().cpu().numpy()
            advance(number + 1)
        for array in arrays:
            array.flush()  # type: ignore[attr-defined]
        write_file(folder / KEY_FILE, json.dumps({"key": key}).encode())


def load(eye: Eye, sampler: PhraseSampler, folder: Path, *, count: int, image_size: int) -> SeenViews:
    """What `look` kept.

    Raises:
        UserError: it is gone, or of other views or another eye.
    """
    key = key_of(eye, sampler, count=count, image_size=image_size)
    folder = folder / key[:_KEY_LENGTH]
    if _key_in(folder) != key:
        raise UserError(f"{folder}, which the run has learned from so far, is gone or of other views: begin anew")
    views = [SeenView(view.scene, context) for view, context in sampler.scenes(count, pixels=False)]
    return SeenViews(folder, views)


def _files(folder: Path) -> list[Path]:
    return [folder / f"{name}.npy" for name in Sight.__dataclass_fields__]


def _key_in(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / KEY_FILE).read_text(encoding="utf-8"))["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def boxes_of(scene: CocoImage, targets: Sequence[int]) -> list[tuple[float, float, float, float]]:
    """The boxes of some of a view's objects in shares of its sides."""
    width, height = scene.width, scene.height
    return [
        (x0 / width, y0 / height, x1 / width, y1 / height)
        for x0, y0, x1, y1 in (scene.objects[target].box for target in targets)
    ]


def empty_sight(eye: Mapping[str, Any], views: int, side: int) -> Sight:
    """What an eye of a model of this configuration sees, without values (PyTorch's meta device)."""
    middle, coarse = eye["trunk_widths"][1:3]
    with torch.device("meta"):
        return Sight(
            fine=torch.empty(views, eye["candidate_width"], side // 4, side // 4),
            edges=torch.empty(views, 4, side // 4, side // 4),
            middle=torch.empty(views, middle, side // 8, side // 8),
            coarse=torch.empty(views, coarse, side // 16, side // 16),
        )
