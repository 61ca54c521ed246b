"""Makes data sets in REFER's layout: RRSIS-D with its wrong boxes and areas, and NWPU-Refer."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.data.factories.pictures import rectangle, save_picture
from tests.data.factories.rle import encode

SIZE = (40, 30)
"""Width and height of the pictures."""

CATEGORIES = {3: "ground_track_field", 7: "airplane"}


@dataclass(frozen=True)
class Reference:
    """One reference of RRSIS-D: one image, one object, one sentence.

    `parts` are masks (height, width) that the object is cut into; `image_size` is that of the file on disk.
    """

    number: int
    split: str
    sentence: str
    parts: Sequence[NDArray[np.bool_]]
    category: int = 7
    image_size: tuple[int, int] = SIZE

    @property
    def file_name(self) -> str:
        return f"{self.number:05d}.jpg"


def box(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    return rectangle(*SIZE, x0, y0, x1, y1)


RRSISD = (
    Reference(11, "train", "The airplane on the left", [box(2, 5, 12, 9)]),
    Reference(12, "train", "A ground track field in the middle", [box(0, 0, 9, 6), box(5, 3, 20, 20)], category=3),
    Reference(20203, "train", "The airplane at the bottom", [box(0, 0, 0, 0)]),
    Reference(400, "val", "The small airplane", [box(30, 20, 40, 30)]),
    Reference(413, "test", "The airplane is above the airplane", [box(0, 0, 0, 0)]),
    Reference(414, "test", "A airplane", [box(1, 1, 3, 30)]),
)
"""Among them an object in two parts and two with an empty mask."""


def make_rrsisd(
    folder: Path,
    references: Sequence[Reference] = RRSISD,
    *,
    name: str = "rrsisd",
    pictures: bool = True,
    references_name: str = "refs(unc).p",
) -> Path:
    """Write `name`/refs(unc).p, `name`/instances.json and images/`name`/JPEGImages; returns the folder."""
    images, annotations, refs = [], [], []
    for k, reference in enumerate(references):
        joined = np.logical_or.reduce(list(reference.parts))
        height, width = joined.shape
        images.append({"file_name": reference.file_name, "height": height, "width": width, "id": reference.number})
        annotations.append(
            {
                "bbox": _corners(joined),  # x1, y1, x2, y2, although the format says width and height
                "categories_id": reference.category,  # so misspelt
                "id": k + 1,
                "image_id": reference.number,
                "segmentation": [encode(part) for part in reference.parts],
                "area": int(joined.sum()) * 233,
            }
        )
        refs.append(refer_item(k, reference.number, k + 1, reference.split, [reference.sentence], reference.category))
        refs[-1]["file_name"] = reference.file_name
        if pictures:
            save_picture(folder / "images" / name / "JPEGImages" / reference.file_name, *reference.image_size, seed=k)
    write_refer(folder / name, refs, images, annotations, references_name=references_name)
    return folder


def refer_item(
    number: int, image_id: Any, annotation_id: Any, split: str, sentences: Sequence[str], category: int = 7
) -> dict[str, Any]:
    """One reference, as in refs(unc).p."""
    first = 10 * number
    return {
        "image_id": image_id,
        "split": split,
        "sentences": [
            {
                "tokens": sentence.lower().split(),
                "raw": sentence,
                "sent_id": first + k,
                "sent": sentence.lower(),
            }
            for k, sentence in enumerate(sentences)
        ],
        "file_name": f"{int(image_id):05d}.jpg",
        "category_id": category,
        "ann_id": annotation_id,
        "sent_ids": [first + k for k in range(len(sentences))],
        "ref_id": number,
    }


def write_refer(
    folder: Path,
    references: Sequence[Mapping[str, Any]],
    images: Sequence[Mapping[str, Any]],
    annotations: Sequence[Mapping[str, Any]],
    *,
    categories: Sequence[Mapping[str, Any]] | None = None,
    references_name: str = "refs(unc).p",
    instances_name: str = "instances.json",
) -> None:
    """Write the two files."""
    if categories is None:
        categories = [{"supercategory": "object", "name": name, "id": k} for k, name in CATEGORIES.items()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / references_name).write_bytes(pickle.dumps(list(references), protocol=2))
    content = {"images": list(images), "annotations": list(annotations), "categories": list(categories)}
    (folder / instances_name).write_text(json.dumps(content))


def make_nwpu_refer(folder: Path) -> Path:
    """Write NWPU-Refer: one image with three objects, polygons, several references with one sentence, and no target.

    Samples: "the airplane on the left" (1), "two airplanes" (1 and 2, said by two references), "the ship" (absent, with
    annotation -1), "the bridge" (absent, its annotation has no outline), "the field" (3, in Chinese too); and in val
    "two airplanes" again, of another image.
    """
    images = [{"id": k, "file_name": f"{k}.jpg", "width": SIZE[0], "height": SIZE[1]} for k in (1, 2)]
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [2, 3, 8, 5], "area": 40, "iscrowd": 0,
         "segmentation": [polygon(2, 3, 10, 8)]},
        {"id": 2, "image_id": 1, "category_id": 7, "bbox": [20, 10, 10, 8], "area": 80, "iscrowd": 0,
         "segmentation": [polygon(20, 10, 25, 18), polygon(24, 10, 30, 18)]},
        {"id": 3, "image_id": 1, "category_id": 3, "bbox": [30, 20, 20, 20], "area": 100, "iscrowd": 0,
         "segmentation": [polygon(30, 20, 50, 40)]},
        {"id": 4, "image_id": 1, "category_id": 7, "bbox": [], "area": 0, "iscrowd": 0, "segmentation": []},
        {"id": 5, "image_id": 2, "category_id": 7, "bbox": [0, 0, 4, 4], "area": 16, "iscrowd": 0,
         "segmentation": [polygon(0, 0, 4, 4)]},
    ]  # fmt: skip
    references = [
        refer_item(0, 1, 1, "train", ["the airplane on the left"]),
        refer_item(1, 1, 1, "train", ["two airplanes"]),
        refer_item(2, 1, 2, "train", ["two airplanes"]),
        refer_item(3, 1, -1, "train", ["the ship"]),
        refer_item(4, 1, 4, "train", ["the bridge"]),
        refer_item(5, 1, 3, "train", ["the field", "\u7530\u5f84\u573a"], category=3),
        refer_item(6, 2, 5, "val", ["two airplanes"]),
    ]
    write_refer(
        folder, references, images, annotations,
        references_name="new_refs(unc).p", instances_name="new_instances.json",
    )  # fmt: skip
    for image in images:
        save_picture(folder / "image" / "image" / image["file_name"], *SIZE, seed=image["id"])
    return folder


def polygon(x0: int, y0: int, x1: int, y1: int) -> list[int]:
    """A rectangle as a polygon of COCO."""
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def _corners(mask: NDArray[np.bool_]) -> list[int]:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return [0, 0, 0, 0]
    return [int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1]
