"""What a model draws in many views where the right objects are chosen, drawn once and kept, to teach it finer masks.

What a view shows, and what is drawn of it in cells, costs much to see; to draw it again in pixels costs little. The
rest of the model stays as it is meanwhile, so every view need be seen only once.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import islice
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from refersat.errors import UserError
from refersat.models.hiera import per_phrase
from refersat.models.preprocess import preprocess
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.models.selection import CHOSEN, NOT_MEANT, Selection
from refersat.output import output_folder, write_file
from refersat.text.expressions import Expression
from refersat.text.phrases import Tokenizer
from refersat.training.generated import PhraseSampler, targets_of

LEAST_SURE = 0.5
"""Logit, either way, of the choice of an object."""

TRIES = 3
"""Times as many phrases are made as masks are wanted: some name nothing, or what another one named."""

CELL = 4
"""Pixels along a side of a cell."""

_INDEX = "drawn.json"


@dataclass(frozen=True)
class DrawnMask:
    """One mask of a view of side S.

    Attributes:
        view: number of the view.
        place: its number in that view.
        name: of the image.
        phrase: that it answers.
    """

    view: int
    place: int
    name: str
    phrase: str


class DrawnViews:
    """What was drawn, on disk.

    Args:
        folder: that `look` wrote to.

    Attributes:
        masks: all of them.
        side: S.

    Raises:
        UserError: it is gone or damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
            self.masks = [DrawnMask(**each) for each in index]
            self.side: int = self._array("pixels").shape[-1]
            for name in ("features", "drawn", "targets"):
                self._array(name)
        except (OSError, ValueError, TypeError) as error:
            raise UserError(
                f"{folder}, which the run has learned from so far, cannot be read ({error}): restore it or begin anew"
            ) from error

    def _array(self, name: str) -> NDArray[Any]:
        """Opened anew each time: kept ones would be copied whole into the processes that load data."""
        array: NDArray[Any] = np.load(self._folder / f"{name}.npy", mmap_mode="r")
        return array

    def target(self, mask: DrawnMask) -> NDArray[np.bool_]:
        """The truth (S, S)."""
        bits = np.unpackbits(self._array("targets")[mask.view, mask.place], count=self.side**2)
        return bits.reshape(self.side, self.side).astype(np.bool_)

    def window(self, mask: DrawnMask, rows: slice, columns: slice) -> tuple[NDArray[np.float16], ...]:
        """A part of the view, in cells: pixels (3, 4h, 4w), features (W, h, w), logits drawn (1, h, w)."""
        fine = tuple(slice(CELL * part.start, CELL * part.stop) for part in (rows, columns))
        return (
            self._array("pixels")[mask.view][:, fine[0], fine[1]],
            self._array("features")[mask.view][:, rows, columns],
            self._array("drawn")[mask.view, mask.place][None, rows, columns],
        )


@torch.no_grad()
def look(
    model: RS2Sam2Model,
    sampler: PhraseSampler,
    tokenizer: Tokenizer,
    folder: Path,
    *,
    count: int,
    image_size: int,
    masks: int,
    precision: torch.autocast,
    advance: Callable[[int], None] = lambda done: None,
) -> None:
    """Write what a model draws in the first `count` views of a sampler.

    Args:
        model: with a refiner, in evaluation mode.
        sampler: of the views.
        tokenizer: of the phrases.
        folder: to write to.
        count: how many views.
        image_size: their side in pixels.
        masks: of each view, at most.
        precision: of the trunk.
        advance: called with the number of views that are done.

    Raises:
        UserError: the folder cannot be written to.
    """
    config, arrays = copy(model.config), None
    config.image_size = image_size
    index: list[dict[str, int | str]] = []
    with output_folder(folder):
        (folder / _INDEX).unlink(missing_ok=True)
        for number, (shown, context) in enumerate(sampler.scenes(count)):
            rng = np.random.default_rng((sampler.seed, number, 6))
            wanted = _of_different_targets(sampler.expressions(shown.scene, context, rng, TRIES * masks))
            expressions = list(islice(wanted, masks))
            if expressions:
                targets = targets_of(shown.scene, expressions, image_size)
                questions = (*preprocess([shown.pixels], config), *tokenizer([each.phrase for each in expressions]))
                with precision:
                    drawn, features, sure = _drawn(model, questions, torch.from_numpy(targets)[:, None])
                arrays = arrays or _Arrays(folder, count, masks, image_size, features.shape[1])
                arrays.write(number, questions[0], features, drawn, targets)
                index += [
                    {"view": number, "place": place, "name": shown.scene.file_name, "phrase": each.phrase}
                    for place, each in enumerate(expressions)
                    if sure[place] and targets[place].any()
                ]
            advance(number + 1)
        if not index:
            raise UserError(
                f"in none of {count} views anything was drawn: the model has learned too little to refine it"
            )
        assert arrays is not None
        arrays.flush()
        write_file(folder / _INDEX, json.dumps(index).encode())


def _of_different_targets(expressions: Sequence[Expression]) -> Iterator[Expression]:
    """Those that name something, one for each target."""
    seen = set()
    for each in expressions:
        if each.targets and each.targets not in seen:
            seen.add(each.targets)
            yield each


def _drawn(model: RS2Sam2Model, questions: Sequence[Tensor], targets: Tensor) -> tuple[Tensor, Tensor, list[bool]]:
    """Plain logits (B, S/4, S/4) of one view's masks, the survey's features (1, W, S/4, S/4), and what was found."""
    found = [True] * len(targets)

    def truth(selection: Selection) -> Tensor:
        """As sure as the selector is, of what is right."""
        there = per_phrase(selection.sightings.objects.scores, len(targets)) > 0
        meant = selection.meant(targets.float().to(model.device)) & there
        found[:] = meant.any(1).tolist()
        sure = selection.logits.abs()
        chosen = torch.where(meant, sure.clamp(min=CHOSEN), -sure.clamp(min=LEAST_SURE))
        return torch.where(there, chosen, NOT_MEANT)

    output = model(*(each.to(model.device) for each in questions), choice=truth)
    assert output.low_res_logits is not None and output.candidates is not None
    plain = torch.logit(model.probability(output.low_res_logits[:, 0]), eps=1e-6)
    return plain, output.candidates.survey.features, found


class _Arrays:
    """The files of `count` views, in half precision, and the truths in bits.

    Raises:
        UserError: there is no room for them. (Files that are mapped into memory cannot tell that later.)
    """

    def __init__(self, folder: Path, count: int, masks: int, side: int, width: int) -> None:
        cells = side // CELL
        kinds: dict[str, tuple[type[np.generic], tuple[int, ...]]] = {
            "pixels": (np.float16, (count, 3, side, side)),
            "features": (np.float16, (count, width, cells, cells)),
            "drawn": (np.float16, (count, masks, cells, cells)),
            "targets": (np.uint8, (count, masks, -(-(side**2) // 8))),
        }
        needed = sum(np.dtype(kind).itemsize * prod(shape) for kind, shape in kinds.values())
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise UserError(
                f"what the model draws of {count:,} views takes {needed / 2**30:.1f} GiB in {folder}, and "
                f"{free / 2**30:.1f} are free: give fewer `views`, or another --out"
            )
        self._pixels, self._features, self._drawn, self._targets = (
            open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape)
            for name, (kind, shape) in kinds.items()
        )

    def write(self, number: int, pixels: Tensor, features: Tensor, drawn: Tensor, targets: NDArray[np.bool_]) -> None:
        """Keep a view."""
        self._pixels[number] = pixels[0].half().numpy()
        self._features[number] = features[0].half().cpu().numpy()
        self._drawn[number, : len(drawn)] = drawn.half().cpu().numpy()
        self._targets[number, : len(targets)] = np.packbits(targets.reshape(len(targets), -1), axis=1)

    def flush(self) -> None:
        """See that all of it is on the disk."""
        for array in (self._pixels, self._features, self._drawn, self._targets):
            array.flush()
