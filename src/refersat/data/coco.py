"""Reader of COCO instance files: images with the outlines of their objects."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refersat.data import shapes
from refersat.data.segmentation import shape_of
from refersat.data.shapes import Shape
from refersat.errors import UserError
from refersat.text.scene import SceneObject


@dataclass(frozen=True, slots=True)
class CocoImage:
    """One image's objects: ``shapes[i]`` is the outline of ``objects[i]``, both in pixels."""

    file_name: str
    width: int
    height: int
    objects: tuple[SceneObject, ...]
    shapes: tuple[Shape, ...]

    def mask(self, targets: Iterable[int]) -> NDArray[np.bool_]:
        """Mask (height, width) of some of the objects."""
        return shapes.rasterise([self.shapes[i] for i in targets], self.width, self.height)

    def warped(self, matrix: NDArray[np.floating], width: int, height: int, *, min_area: float = 4.0) -> CocoImage:
        """The objects after an affine map (2x3: crop, scale, flip, rotate) into a new frame.

        Outlines are clipped to the frame; boxes, centroids and areas are those of what is left. Objects of which
        less than ``min_area`` square pixels are left are dropped.
        """
        return _assemble(
            self.file_name, width, height,
            ((item.category, item.colour, shapes.clip(shapes.warp(shape, matrix), width, height))
             for item, shape in zip(self.objects, self.shapes, strict=True)),
            min_area,
        )  # fmt: skip

    def cropped(self, x0: float, y0: float, width: int, height: int, *, min_area: float = 4.0) -> CocoImage:
        """The objects within a window whose upper left corner is x0, y0."""
        return self.warped(np.array([[1.0, 0.0, -x0], [0.0, 1.0, -y0]]), width, height, min_area=min_area)


@dataclass(frozen=True, slots=True)
class CocoFile:
    """All images of an instances file, in the file's order, and the names of its categories."""

    images: tuple[CocoImage, ...]
    categories: tuple[str, ...]


def read_coco(path: Path) -> CocoFile:
    """Read a COCO instances file.

    Polygons and run-length encodings (plain or compressed) are understood; crowd regions count as objects.
    Underscores in names of categories become blanks ("storage_tank" -> "storage tank").

    Raises:
        UserError: the file is missing, is not JSON, or lacks what an instances file must have.
    """
    content = _load(path)
    try:
        names = {int(c["id"]): str(c["name"]).replace("_", " ") for c in content["categories"]}
        annotations: dict[int, list[Mapping[str, Any]]] = {}
        for annotation in content["annotations"]:
            annotations.setdefault(int(annotation["image_id"]), []).append(annotation)
        images = tuple(_read_image(image, annotations.get(int(image["id"]), []), names) for image in content["images"])
    except KeyError as error:
        raise UserError(f"{path}: not a COCO instances file, {error} is missing") from None
    except (TypeError, ValueError, IndexError) as error:
        raise UserError(f"{path}: not a COCO instances file ({error})") from None
    return CocoFile(images, tuple(dict.fromkeys(names.values())))


def _load(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the instances file of a COCO data set") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: not a COCO instances file, it holds no JSON object")
    return content


def _read_image(
    image: Mapping[str, Any], annotations: Iterable[Mapping[str, Any]], names: Mapping[int, str]
) -> CocoImage:
    width, height = int(image["width"]), int(image["height"])
    found = (
        (names[int(a["category_id"])], None, shapes.clip(shape_of(a["segmentation"]), width, height))
        for a in annotations
    )
    return _assemble(str(image["file_name"]), width, height, found, 0.0)


def _assemble(
    file_name: str, width: int, height: int, found: Iterable[tuple[str, str | None, Shape]], min_area: float
) -> CocoImage:
    objects, outlines = [], []
    for category, colour, shape in found:
        if not shape:
            continue
        area, centroid = shapes.moments(shape)
        if area > 0 and area >= min_area:
            objects.append(SceneObject(category, shapes.bounds(shape), centroid, area, colour))
            outlines.append(shape)
    return CocoImage(file_name, width, height, tuple(objects), tuple(outlines))
