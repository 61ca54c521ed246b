"""What `refersat batch` costs besides the model, how it scales, and whether its memory stays flat.

    python benchmarks/batch.py --rows 200                                    # both engines, 1 and 2 workers
    python benchmarks/batch.py --rows 200 --engines local pair               # what the machine itself allows two
    python benchmarks/batch.py --rows 2000 --side 128 --image-size 128 --engines local        # memory over many rows
    python benchmarks/batch.py --rows 200 --model sleep:0.3                  # the engine alone, with a model that waits
    python benchmarks/batch.py --ledger 20000                                # the folder alone: what grows with it

Of each run, in a process of its own:

- first row: seconds from the beginning, Ray's start and the model's loading included, until a row was done;
- s/row: between the first row and the last but one, of all workers together;
- model: seconds of the model alone, for each row and worker but its first;
- overhead: the share of the workers' time that was not the model's: reading, drawing, writing, and the engine itself;
- engine: the share that was neither the model's nor other work on the row: waiting, Ray, the ledger's checks (below
  zero where reading and writing went on beside the model);
- CPU: milliseconds of a processor for each row besides the model's, of the local engine: what is left to pay where no
  core is idle;
- memory: of the largest worker after a tenth of the rows, and at the end.

Each worker has one thread. The efficiency is the speed of two workers over twice that of one. "pair" is two processes
of the local engine that know nothing of each other, at once and with half of the images each: no engine can do better.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np


class Waiting:
    """Stands for a `Segmenter` that takes a fixed time and no CPU: bright pixels are the target."""

    name = "waiting"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def stream(self, questions: Iterable[tuple[Any, str]], **options: Any) -> Iterator[Any]:
        """An answer for each question."""
        from refersat.result import Result

        for image, phrase in questions:
            time.sleep(self._seconds)
            probability = image.rgb[..., 1] * np.float32(1 / 255)
            yield Result(image, phrase, self.name, probability > 0.5, probability, 0.9, True, self._seconds)


class Counted:
    """A `Segmenter` with one thread, and the processor time that it took."""

    def __init__(self, segmenter: Any) -> None:
        self._segmenter, self.name = segmenter, segmenter.name
        self.seconds = 0.0

    def stream(self, questions: Iterable[tuple[Any, str]], **options: Any) -> Iterator[Any]:
        """An answer for each question."""
        results = self._segmenter.stream(questions, **options)
        while True:
            began = time.thread_time()
            result = next(results, None)
            self.seconds += time.thread_time() - began
            if result is None:
                return
            yield result


def write_images(folder: Path, count: int, side: int) -> None:
    """Different images of grey noise with bright rectangles."""
    import rasterio
    from affine import Affine

    folder.mkdir()
    draw = np.random.default_rng(0)
    shape = {"width": side, "height": side, "count": 3, "dtype": "uint8", "crs": "EPSG:32631"}
    for number in range(count):
        values = draw.integers(40, 120, (3, side, side), np.uint8)
        for _ in range(5):
            x, y = draw.integers(0, side * 3 // 4, 2)
            values[:, y : y + side // 8, x : x + side // 6] = 230
        place = Affine(0.3, 0, 500_000, 0, -0.3, 5_700_000)
        with rasterio.open(folder / f"{number:06}.tif", "w", driver="GTiff", transform=place, **shape) as target:
            target.write(values)


def smaller(model: str, image_size: int, folder: Path) -> str:
    """A copy of a model that looks at images at another size."""
    from refersat.models.identity import model_folder

    shutil.copytree(model_folder(model), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "image_size": image_size}))
    return str(folder)


def memory_of_workers(engine: str) -> int:
    """Bytes that are resident in the largest worker on this machine: this process, or an actor of Ray."""
    if engine == "local":
        return resident(os.getpid())
    sizes = [0]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"MapBatches(_Actor)" in (process / "cmdline").read_bytes():
                sizes.append(resident(int(process.name)))
        except OSError:
            continue
    return max(sizes)


def resident(pid: int) -> int:
    """Bytes that are resident in a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(images: Path, out: Path, engine: str, workers: int, model: str, dtype: str) -> dict[str, Any]:
    """One batch in this process."""
    import refersat
    from refersat.batch.catalogue import read_catalogue
    from refersat.batch.job import Job
    from refersat.batch.ledger import RECORD, Ledger
    from refersat.batch.on_ray import Cluster
    from refersat.batch.run import make_engine, run_batch

    began = time.perf_counter()
    counted: Counted | None = None
    rows = read_catalogue(str(images), ["the bright square"])
    options: dict[str, Any] = {"device": "cpu", "dtype": dtype, "kind": "image", "threads": 1}
    if model.startswith("sleep:"):
        seconds = float(model.partition(":")[2])
        options["load"] = lambda job: Waiting(seconds)
    elif engine == "local":
        counted = Counted(refersat.load(model, device="cpu", dtype=dtype))
        options["load"] = lambda job: counted
    cluster = Cluster(workers=workers) if engine == "ray" else Cluster()
    names: list[str] = []
    times: list[float] = []
    others: list[float] = []
    sizes: list[int] = []

    def watch(outcomes: Iterator[Any], total: int, before: int) -> None:
        every = max(1, total // 20)
        for outcome in outcomes:
            assert outcome.error is None, outcome.error
            names.append(outcome.name)
            times.append(time.perf_counter() - began)
            others.append(time.process_time() - (counted.seconds if counted else 0))
            if len(times) % every == 0:
                sizes.append(memory_of_workers(engine))

    run_batch(rows, Job(out, model=model, **options), make_engine(engine, cluster), watch=watch)
    # Of each worker without the first row, on which everything is slow once.
    records = [json.loads((Ledger(out).folder(name) / RECORD).read_bytes()) for name in names[workers:]]
    asked = sum(answer["seconds"] for record in records for answer in record["answers"]) / len(records)
    worked = sum(record["seconds"] for record in records) / len(records)
    # Each row but the last is told when the next is answered: from the first to the last but one lie as many answers.
    lasting = (times[-2] - times[0]) / (len(times) - 2)
    return {
        "engine": engine,
        "workers": workers,
        "rows": len(names),
        "first": times[0],
        "per_row": lasting,
        "model": asked,
        "overhead": 1 - asked / (lasting * workers),
        "engine_share": 1 - worked / (lasting * workers),
        "cpu": (others[-2] - others[0]) / (len(others) - 2) if engine == "local" else None,
        "memory": [sizes[len(sizes) // 10] / 2**20, sizes[-1] / 2**20],
    }


def ledger_costs(count: int) -> None:
    """Print what one process does per second with a folder of so many finished images, each with one polygon."""
    from refersat.batch.ledger import Ledger
    from refersat.batch.rows import Catalogue, Row
    from refersat.batch.tables import write_tables
    from refersat.output import write_file
    from refersat.vector import Ground, feature_collection

    @contextmanager
    def told(what: str) -> Iterator[None]:
        began, cpu = time.perf_counter(), time.process_time()
        yield
        passed, worked = time.perf_counter() - began, time.process_time() - cpu
        print(f"| {what} | {passed / count * 1e6:.0f} | {worked / count * 1e6:.0f} |", flush=True)

    ring = [[0.0, 0.0], [8.0, 0.0], [8.0, 8.0], [0.0, 8.0], [0.0, 0.0]]
    about = {"phrase": "all ships", "score": 0.9, "model": "x", "area": 64.0, "area_unit": "px"}
    feature = {"type": "Feature", "properties": about, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    answer = {"present": True, "score": 0.9, "area": 64, "area_unit": "px", "area_px": 64, "seconds": 0.1}
    answer |= {"mask": "x.tif", "polygons": "x.geojson"}
    catalogue = Catalogue("x", "table", tuple(Row(k, f"/archive/{k}.tif", "all ships") for k in range(count)))
    print("| of each image | microseconds | of a CPU |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="refersat-") as folder:
        ledger = Ledger(Path(folder))
        ledger.begin({}, resume=False, overwrite=False)
        with told("catalogue to units"):
            units = [asked.unit for asked in catalogue.asked()]
        with told("attempt, files and commit"):
            for unit in units:
                ledger.attempt(unit)
                with ledger.workplace(unit) as place:
                    write_file(place / "x.geojson", feature_collection([feature], Ground()))
                    ledger.commit(unit, place, {"error": None, "answers": [answer], "seconds": 0.1})
        with told("list what is done"):
            assert len(ledger.done()) == count
        with told("check what is done"):
            assert all(ledger.record(unit.name) for unit in units)
        with told("both tables"):
            assert write_tables(ledger, catalogue).found == count


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="takes its first images instead of made-up ones")
    parser.add_argument("--side", type=int, default=512, help="of made-up images, in pixels")
    parser.add_argument("--engines", nargs="+", default=["local", "ray"])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="of Ray")
    parser.add_argument("--model", default="built-in", help="a name, a folder, or sleep:SECONDS")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--image-size", type=int, metavar="PX", help="at which the model looks; its own by default")
    parser.add_argument("--ledger", type=int, metavar="N", help="measure a folder of N images instead")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one is not None:
        print(json.dumps(measure(**json.loads(asked.one, object_hook=as_paths))))
        return
    if asked.ledger is not None:
        ledger_costs(asked.ledger)
        return
    print("| engine | workers | rows | first row, s | s/row | model, s | overhead | engine | CPU, ms | memory, MB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    speeds = {}
    with tempfile.TemporaryDirectory(prefix="refersat-") as folder:
        images = Path(folder) / "images"
        if asked.images is None:
            write_images(images, asked.rows, asked.side)
        else:
            images.mkdir()
            for path in sorted(asked.images.iterdir())[: asked.rows]:
                shutil.copyfile(path, images / path.name)
        model = smaller(asked.model, asked.image_size, Path(folder) / "model") if asked.image_size else asked.model
        runs = [("local", 1)] if "local" in asked.engines else []
        runs += [("pair", 2)] if "pair" in asked.engines else []
        runs += [("ray", workers) for workers in asked.workers] if "ray" in asked.engines else []
        for number, (engine, workers) in enumerate(runs):
            words = {"images": str(images), "out": f"{folder}/out-{number}", "engine": engine, "workers": workers}
            measured = measure_pair if engine == "pair" else measure_apart
            row = measured({**words, "model": model, "dtype": asked.dtype})
            cpu = "-" if row["cpu"] is None else f"{row['cpu'] * 1e3:.0f}"
            speeds[engine, workers] = 1 / row["per_row"]
            print(
                f"| {engine} | {workers} | {row['rows']} | {row['first']:.1f} | {row['per_row']:.3f} "
                f"| {row['model']:.3f} | {row['overhead']:.1%} | {row['engine_share']:.1%} "
                f"| {cpu} | {row['memory'][0]:.0f}, then {row['memory'][1]:.0f} |",
                flush=True,
            )
    print()
    for one, two in ((("local", 1), ("pair", 2)), (("ray", 1), ("ray", 2))):
        if {one, two} <= set(speeds):
            print(f"{two[0]}: efficiency of two workers: {speeds[two] / (2 * speeds[one]):.1%}")


def as_paths(words: dict[str, Any]) -> dict[str, Any]:
    """Arguments as they came through JSON."""
    return {**words, "images": Path(words["images"]), "out": Path(words["out"])}


def measure_pair(words: dict[str, Any]) -> dict[str, Any]:
    """Two batches at once with half of the images each."""
    halves = []
    for number in (0, 1):
        folder = Path(f"{words['out']}-images-{number}")
        folder.mkdir()
        for path in sorted(Path(words["images"]).iterdir())[number::2]:
            (folder / path.name).symlink_to(path)
        own = {"images": str(folder), "out": f"{words['out']}-{number}", "engine": "local", "workers": 1}
        halves.append({**words, **own})
    with ThreadPoolExecutor() as both:
        one, other = both.map(measure_apart, halves)
    mean = {name: (one[name] + other[name]) / 2 for name in ("first", "model", "overhead", "engine_share", "cpu")}
    together = {"rows": one["rows"] + other["rows"], "per_row": 1 / (1 / one["per_row"] + 1 / other["per_row"])}
    return {**one, **mean, **together}


def measure_apart(words: dict[str, Any]) -> dict[str, Any]:
    """One batch in a process of its own, with one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, __file__, "--one", json.dumps(words)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    if done.returncode:
        raise RuntimeError(f"{words}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
