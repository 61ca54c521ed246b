"""Pictures of what `refersat scene` found: each mask on its scene, at the size of a screen.

refersat scene harbour.tif -t "all ships" --out found
python benchmarks/scene_pictures.py harbour.tif found/harbour-1.tif --out pictures
"""

from __future__ import annotations

import argparse
from pathlib import Path

import rasterio
from rasterio.enums import Resampling

from refersat.overlay import draw_overlay
from refersat.scene.reader import SceneReader
from refersat.scene.window import Window

LONG_SIDE = 1400


def main() -> None:
    """Draw each mask that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("masks", type=Path, nargs="+", help="STEM-K.tif of this scene")
    parser.add_argument("--out", type=Path, default=Path("out"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with SceneReader(asked.scene) as reader:
        scale = min(1.0, LONG_SIDE / max(reader.width, reader.height))
        size = round(reader.height * scale), round(reader.width * scale)
        rgb = reader.read(Window(0, 0, reader.width, reader.height), size).pixels
    for path in asked.masks:
        with rasterio.open(path) as dataset:
            mask = dataset.read(1, out_shape=size, resampling=Resampling.average) > 127
            tags = dataset.tags()
        caption = f"{tags['PHRASE']} ({tags['MODEL']}, {tags['STRATEGY']}, {tags['GSD']})"
        picture = draw_overlay(rgb, mask, phrase=caption, score=float(tags["SCORE"]), present=bool(mask.any()))
        target = asked.out / f"{path.stem}.png"
        picture.save(target)
        print(target)


if __name__ == "__main__":
    main()
