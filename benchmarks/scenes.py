"""Memory and speed of `refersat scene` for square scenes of growing size, with a stand-in for the model.

    python benchmarks/scenes.py --sizes 2000 5000 10000

Each size runs in a process of its own, whose address space is limited to what it had when everything was imported and
`--limit` more. Memory is the peak above that, so the model's own is not in it. The stand-in takes brightness for
probability: what is measured is reading, blending, writing and outlining. Processor time is that of all threads.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

TILE_BLOCK = 512
LIMIT_GB = 1.5


class Brightness:
    """Stands for a `Segmenter`."""

    name = "brightness"
    threshold = 0.5
    folder = None
    number_format = "float32"

    def __init__(self) -> None:
        import torch

        self.device = torch.device("cpu")

    def probabilities(self, questions: Iterable[tuple[Any, str]], *, batch_size: int | None = None) -> Iterator[Any]:
        """The green band as probability."""
        from refersat.segmenter import Probability

        for image, _ in questions:
            yield Probability(image.rgb[..., 1] * np.float32(1 / 255), True, 0.9)


def write_scene(path: Path, width: int, height: int, *, objects: int = 2000) -> None:
    """A dark scene with bright rectangles, and a cross of roads from border to border; nothing else takes disk."""
    import rasterio
    import rasterio.windows
    from affine import Affine

    draw = np.random.default_rng(0)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        width=width,
        height=height,
        count=3,
        dtype="uint8",
        crs="EPSG:32631",
        transform=Affine(0.3, 0, 500_000, 0, -0.3, 5_700_000),
        tiled=True,
        blockxsize=TILE_BLOCK,
        blockysize=TILE_BLOCK,
        compress="deflate",
        sparse_ok=True,
        bigtiff="if_safer",
    ) as scene:

        def paint(x: int, y: int, wide: int, high: int) -> None:
            wide, high = min(wide, width - x), min(high, height - y)
            scene.write(np.full((3, high, wide), 220, np.uint8), window=rasterio.windows.Window(x, y, wide, high))

        for _ in range(min(objects, width * height // 4000)):
            paint(*(int(draw.integers(side)) for side in (width, height)), *map(int, draw.integers(4, 60, 2)))
        paint(width // 2, 0, 12, height)
        paint(0, height // 2, width, 12)


def memory() -> tuple[int, int]:
    """Bytes of address space, and the most that were resident, of this process until now.

    Not `ru_maxrss`: that begins with what the process had which started this one.
    """
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    sizes = {line[0]: int(line[1]) * 1024 for line in lines if line[0] in ("VmSize:", "VmHWM:")}
    return sizes["VmSize:"], sizes["VmHWM:"]


def measure(path: Path, out: Path, *, tile: int, limit_gb: float, phrases: int) -> dict[str, Any]:
    """One run in this process."""
    import pyogrio.raw  # noqa: F401
    import rasterio.shutil  # noqa: F401

    from refersat.scene.options import SceneOptions
    from refersat.scene.scene import Scene

    model, options = Brightness(), SceneOptions(strategy="tile", tile=tile)
    space, before = memory()
    limit = space + int(limit_gb * 2**30)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    began, worked = time.perf_counter(), time.process_time()
    with Scene(path) as scene:
        found = scene.segment([f"phrase {k}" for k in range(phrases)], out, segmenter=model, options=options)
        pixels = scene.reader.width * scene.reader.height
    seconds, worked = time.perf_counter() - began, time.process_time() - worked
    return {
        "pixels": pixels,
        "seconds": round(seconds, 1),
        "processor_seconds": round(worked, 1),
        "mpx_per_processor_second": round(pixels / worked / 1e6, 1),
        "peak_mb": round((memory()[1] - before) / 2**20),
        "objects": found[0].objects,
    }


def measure_apart(width: int, height: int, *, tile: int = 800, limit_gb: float = LIMIT_GB, phrases: int = 1) -> Any:
    """One run in a process of its own, on a scene made for it.

    Raises:
        RuntimeError: it failed, as it does when it wants more memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        write_scene(path, width, height)
        words = ["--one", str(path), "--tile", str(tile), "--limit", str(limit_gb), "--phrases", str(phrases)]
        done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{width} x {height}: {done.stderr}")
        return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 5000, 10000])
    parser.add_argument("--tile", type=int, default=800)
    parser.add_argument("--phrases", type=int, default=1)
    parser.add_argument("--limit", type=float, default=LIMIT_GB, help="GB more than after the imports")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        options = {"tile": asked.tile, "limit_gb": asked.limit, "phrases": asked.phrases}
        print(json.dumps(measure(asked.one, asked.one.parent / "out", **options)))
        return
    print("| scene | phrases | seconds | processor seconds | Mpx per processor second | peak MB over the model's own |")
    print("|---|---|---|---|---|---|")
    for size in asked.sizes:
        row = measure_apart(size, size, tile=asked.tile, limit_gb=asked.limit, phrases=asked.phrases)
        speed = f"{row['processor_seconds']} | {row['mpx_per_processor_second']}"
        numbers = f"{row['seconds']} | {speed} | {row['peak_mb']}"
        print(f"| {size} x {size} | {asked.phrases} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
