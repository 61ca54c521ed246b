"""Triplets about land cover: one phrase for each class of class-index masks, present in the image or not.

python benchmarks/land_cover_triplets.py dubai --out runs/dubai
refersat evaluate --model built-in --data triplets:runs/dubai --out runs/dubai-report

For "Semantic segmentation of aerial imagery" (Humans in the Loop, MBRSC): FOLDER/images/*.jpg, FOLDER/masks/*.png with
0 unlabelled, then the classes below. A class that covers less than a thousandth of an image is not asked about there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

PHRASES = {
    1: ("water", "the water"),
    2: ("unpaved land", "the unpaved land"),
    3: ("road", "all roads"),
    4: ("building", "all buildings"),
    5: ("vegetation", "the vegetation"),
}
LEAST_SHARE = 1e-3


def main() -> None:
    """Write refs.json and a mask for each phrase."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="holds images/ and masks/")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args()
    (arguments.out / "masks").mkdir(parents=True)
    items = []
    for image in sorted((arguments.folder / "images").glob("*.jpg")):
        classes = np.asarray(Image.open(arguments.folder / "masks" / f"{image.stem}.png"))
        for index, (category, phrase) in PHRASES.items():
            target = classes == index
            if 0 < target.mean() < LEAST_SHARE:
                continue
            name = f"masks/{image.stem}-{index}.png" if target.any() else None
            if name:
                Image.fromarray(target).save(arguments.out / name)
            kind = "group" if name else "absent-category"
            items.append(
                {
                    "id": f"{image.stem}-{index}",
                    "image": str(image.resolve()),
                    "mask": name,
                    "sentence": phrase,
                    "type": kind,
                    "category": category,
                }
            )
    (arguments.out / "refs.json").write_text(json.dumps(items, indent=1) + "\n")
    print(f"{len(items)} phrases in {arguments.out}")


if __name__ == "__main__":
    main()
