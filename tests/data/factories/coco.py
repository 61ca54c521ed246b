"""Makes COCO instances with expressions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.data.factories.pictures import rectangle, save_picture
from tests.data.factories.refer import polygon
from tests.data.factories.rle import encode

SIZE = (40, 30)
"""Width and height of the pictures."""


def instances() -> dict[str, Any]:
    """Two images: a polygon with two sentences, a mask with one, two phrases of a list, and a box without outline."""
    return {
        "images": [
            {"id": 1, "file_name": "a.png", "width": SIZE[0], "height": SIZE[1], "split": "train"},
            {"id": 2, "file_name": "b.png", "width": SIZE[0], "height": SIZE[1], "split": "val"},
        ],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 3, 8, 5], "segmentation": [polygon(2, 3, 10, 8)],
             "sentences": ["the ship on the left", "the small ship"]},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [20, 10, 10, 8],
             "segmentation": encode(rectangle(*SIZE, 20, 10, 30, 18)), "sentences": ["the ship on the right"]},
            {"id": 3, "image_id": 2, "category_id": 2, "bbox": [5, 6, 10, 12], "sentences": ["the storage tank"]},
            {"id": 4, "image_id": 2, "category_id": 2, "bbox": [0, 0, 4, 4], "segmentation": [polygon(0, 0, 4, 4)]},
        ],
        "categories": [{"id": 1, "name": "ship"}, {"id": 2, "name": "storage_tank"}],
        "expressions": [
            {"id": "both", "image_id": 1, "sentence": "both ships", "annotation_ids": [1, 2], "type": "group"},
            {"image_id": 2, "sentence": "the airplane", "annotation_ids": []},
        ],
    }  # fmt: skip


def make_coco(folder: Path, content: dict[str, Any] | None = None, *, name: str = "instances.json") -> Path:
    """Write the instances file (`name` may hold folders) and images/; returns the folder."""
    content = instances() if content is None else content
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    for image in content["images"]:
        save_picture(folder / "images" / image["file_name"], image["width"], image["height"], seed=image["id"])
    return folder
