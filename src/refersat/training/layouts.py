"""Layouts: the objects that a model finds in many views, looked for once, to teach it which of them phrases mean.

What a view shows costs much to see and nothing to talk about: the model that looks stays as it is while it learns to
choose, so any number of phrases about a view need it seen only once. `varied_layouts` makes many of one, and
`layout_sampler` talks about them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from torch import Tensor

from refersat.data import shapes
from refersat.data.coco import CocoImage
from refersat.errors import UserError
from refersat.models.candidates import Survey
from refersat.models.instances import overlaps
from refersat.models.preprocess import square_view
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.models.selection import INSTANCES, InstanceSelector
from refersat.output import replaced_file
from refersat.training.generated import PhraseSampler

FOUND = ("features", "boxes", "scores")
"""Fields of a layout with an entry for each found object; those of `Objects`, in the same order."""

AS_GOOD = 0.6
"""What has less than this share of the best one's IoU with a target is a piece of it, or several objects."""


@dataclass(frozen=True)
class Layout:
    """A view, as far as it takes to talk about it.

    Attributes:
        scene: its outlined objects.
        context: categories of the whole image, of which the view may be a part.
        features, boxes, scores: of the K objects that the model finds, as in `Objects` without the first axis.
        inside: (number of outlined objects, K) how much of each found object lies in each outlined one, as
            `Sightings.belonging`.
    """

    scene: CocoImage
    context: frozenset[str]
    features: NDArray[np.float16]
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    inside: NDArray[np.float16]

    @property
    def count(self) -> int:
        """K."""
        return len(self.scores)

    def meant(self, targets: Sequence[int]) -> NDArray[np.bool_]:
        """Which found objects (K,) are targets: they lie in some, and none fits these much better."""
        covered: NDArray[np.bool_] = self.inside[list(targets)].astype(np.float32).sum(0) > 1
        fits = self._fits()[list(targets)] * covered
        meant: NDArray[np.bool_] = (fits > AS_GOOD * fits.max(1, keepdims=True, initial=0)).any(0)
        return meant

    def _fits(self) -> NDArray[np.float32]:
        """(number of outlined objects, K) IoU of the boxes."""
        sides = [self.scene.width, self.scene.height] * 2
        outlined = np.array([item.box for item in self.scene.objects]).reshape(-1, 4) / sides
        return overlaps(torch.from_numpy(outlined)[None], torch.from_numpy(self.boxes)[None])[0].float().numpy()


@torch.no_grad()
def look(
    model: RS2Sam2Model,
    sampler: PhraseSampler,
    *,
    count: int,
    image_size: int,
    precision: torch.autocast,
    advance: Callable[[int], None] = lambda done: None,
) -> list[Layout]:
    """What a model sees of the first `count` views of a sampler.

    Args:
        model: with a selector, in evaluation mode.
        sampler: of the views.
        count: how many.
        image_size: side of the views in pixels.
        precision: of the trunk.
        advance: called with the number of views that are done.
    """
    selector, finder = model.selector, model.candidates
    assert selector is not None and finder is not None
    layouts = []
    for number, (shown, context) in enumerate(sampler.scenes(count), start=1):
        view = square_view(shown.pixels, image_size, antialias=model.config.resize_antialias).to(model.device)
        with precision:
            surveys = [finder.survey(model.trunk.look(each)) for each in model.views(view)]
        layouts.append(layout_of(selector, surveys, shown.scene, context))
        advance(number)
    return layouts


@torch.no_grad()
def layout_of(
    selector: InstanceSelector, surveys: Sequence[Survey], scene: CocoImage, context: frozenset[str]
) -> Layout:
    """What a selector finds in one image's surveys, one for each view of it."""
    sightings = selector.find(surveys)
    objects, objectness = sightings.objects, sightings.views[0].objectness
    covered = sightings.belonging(_outlines(scene, objectness).to(objectness.device))
    return Layout(
        scene=scene,
        context=context,
        features=_array(objects.features[0], np.float16),
        boxes=_array(objects.boxes[0], np.float32),
        scores=_array(objects.scores[0], np.float32),
        inside=_array(covered, np.float16),
    )


def save(layouts: Sequence[Layout], path: Path) -> None:
    """Write what the model saw; the views themselves follow from the sampler."""
    whole = {name: np.concatenate([getattr(layout, name) for layout in layouts]) for name in FOUND}
    padded = [np.pad(layout.inside, ((0, 0), (0, INSTANCES - layout.count))) for layout in layouts]
    counts = np.array([layout.count for layout in layouts])
    with replaced_file(path) as new:
        save_file({**whole, "inside": np.concatenate(padded), "counts": counts}, new)


def load(path: Path, sampler: PhraseSampler) -> list[Layout]:
    """Read what `save` wrote.

    Raises:
        UserError: the file is gone or damaged, or of other views.
    """
    try:
        content = load_file(path)
        counts = content["counts"]
        found = {name: np.split(content[name], np.cumsum(counts)[:-1]) for name in FOUND}
        views = list(sampler.scenes(len(counts), pixels=False))
        ends = np.cumsum([len(view.scene.objects) for view, _ in views])
        if ends[-1] != len(content["inside"]):
            raise ValueError("it is of other views")
        covered = np.split(content["inside"], ends[:-1])
        return [
            Layout(view.scene, context, **{name: found[name][k] for name in FOUND}, inside=covered[k][:, : counts[k]])
            for k, (view, context) in enumerate(views)
        ]
    except Exception as error:
        raise UserError(
            f"{path}, which the run has learned from so far, cannot be read ({error}): restore it or begin anew"
        ) from error


def _outlines(scene: CocoImage, like: Tensor) -> Tensor:
    """Masks (number of outlined objects, 1, h, w) of a grid's size."""
    height, width = like.shape[-2:]
    scale = np.array([[width / scene.width, 0, 0], [0, height / scene.height, 0]])
    masks = [shapes.rasterise([shapes.warp(shape, scale)], width, height) for shape in scene.shapes]
    return torch.from_numpy(np.stack(masks))[:, None].float()


def _array(values: Tensor, kind: type[np.floating]) -> NDArray[np.floating]:
    return values.float().cpu().numpy().astype(kind)
