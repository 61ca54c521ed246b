"""The picture of the README: overlays that `make demo` wrote, side by side.

make demo && python benchmarks/readme_picture.py out/demo docs/images/demo.png
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

HEIGHT = 520
GAP = 12


def main(folder: Path, target: Path) -> None:
    """Put every `*.overlay.png` of a folder in one row."""
    pictures = [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.overlay.png"))]
    scaled = [picture.resize((round(picture.width * HEIGHT / picture.height), HEIGHT)) for picture in pictures]
    row = Image.new("RGB", (sum(p.width for p in scaled) + GAP * (len(scaled) - 1), HEIGHT), "white")
    x = 0
    for picture in scaled:
        row.paste(picture, (x, 0))
        x += picture.width + GAP
    target.parent.mkdir(parents=True, exist_ok=True)
    row.quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
