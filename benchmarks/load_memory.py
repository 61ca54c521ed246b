"""Time and peak memory from a full-size released folder to its first mask, for every kind of file that occurs.

Writes the folders (1.9 GB each, random float16 weights) below --folder, one at a time, loads each in a process of its
own, answers one phrase with it, and prints a table:

    python benchmarks/load_memory.py --folder /some/disk [--dtype bfloat16] [--kind "whole safetensors"]
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from refersat.benchmark.machine import peak_memory

KEYS = Path(__file__).parent.parent / "tests" / "fixtures" / "keys_large.json.gz"
KINDS = ("whole safetensors", "sharded safetensors", "whole bin", "sharded bin")
SHARD_BYTES = 5 * 10**8
MIB = 2**20


def main() -> None:
    """Measure and print; with --load, be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's temporary folder)")
    parser.add_argument("--dtype", default="bfloat16", choices=["float16", "bfloat16", "float32"])
    parser.add_argument("--kind", choices=KINDS, action="append", help="only these files (default: all)")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(options.load, options.dtype)
        return
    print(f"float16 on disk -> {options.dtype} in memory, MiB")
    print("| files | model | before | peak of loading | peak - before - model | seconds | peak with a mask | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    for kind in options.kind or KINDS:
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name) / "release"
            write(folder, kind)
            measure(folder, kind, options.dtype)
            shutil.rmtree(folder)


def write(folder: Path, kind: str) -> None:
    """Write the released layout with random weights: those of the real checkpoint's names and shapes."""
    from refersat.text.tokenizer import train_tokenizer

    folder.mkdir()
    train_tokenizer(["the large ship on the left"], folder, 50)
    (folder / "config.json").write_text(json.dumps({"model_type": "evf", "mm_extractor_scale": "large"}))
    shapes: dict[str, list[int]] = json.loads(gzip.decompress(KEYS.read_bytes()))
    stem, extension = ("model", ".safetensors") if kind.endswith("safetensors") else ("pytorch_model", ".bin")
    parts = _shards(shapes) if kind.startswith("sharded") else [list(shapes)]
    weight_map = {}
    for number, names in enumerate(parts, start=1):
        many = len(parts) > 1
        file = f"{stem}-{number:05d}-of-{len(parts):05d}{extension}" if many else f"{stem}{extension}"
        tensors: dict[str, Tensor] = {name: torch.randn(shapes[name]).half() for name in names}
        if extension == ".safetensors":
            save_file(tensors, folder / file, metadata={"format": "pt"})
        else:
            torch.save(tensors, folder / file)
        weight_map |= dict.fromkeys(names, file)
    if len(parts) > 1:
        (folder / f"{stem}{extension}.index.json").write_text(json.dumps({"weight_map": weight_map}))


def _shards(shapes: dict[str, list[int]]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    size = 0
    for name, shape in shapes.items():
        count = 2 * torch.Size(shape).numel()
        if parts[-1] and size + count > SHARD_BYTES:
            parts.append([])
            size = 0
        parts[-1].append(name)
        size += count
    return parts


def measure(folder: Path, kind: str, dtype: str) -> None:
    """Load in a process of its own, so that its peak is the loading's."""
    command = [sys.executable, __file__, "--load", str(folder), "--dtype", dtype]
    numbers = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    model, before, peak, answered = (numbers[name] / MIB for name in ("model", "before", "peak", "peak_answered"))
    sizes = f"{model:.0f} | {before:.0f} | {peak:.0f} | {peak - before - model:.0f}"
    print(f"| {kind} | {sizes} | {numbers['seconds']:.1f} | {answered:.0f} | {numbers['first_mask']:.1f} |", flush=True)


def load(folder: Path, dtype: str) -> None:
    """Load, answer, and print what it took, as JSON; the first mask comes `first_mask` seconds after the start."""
    import numpy as np

    from refersat.models.loading import LoadedModel, load_model
    from refersat.models.torch_backend import TorchBackend
    from refersat.segmenter import Segmenter

    before = peak_memory()
    start = time.perf_counter()
    number_format, device = getattr(torch, dtype), torch.device("cpu")
    loaded = load_model(folder, dtype=number_format)
    assert isinstance(loaded, LoadedModel)
    numbers: dict[str, float] = {"before": before, "peak": peak_memory(), "seconds": time.perf_counter() - start}
    numbers["model"] = sum(tensor.numel() * tensor.element_size() for tensor in loaded.model.state_dict().values())
    backend = TorchBackend.of(loaded, device=device, dtype=number_format, fast=True)
    segmenter = Segmenter(backend, name=loaded.name)
    segmenter(np.zeros((512, 512, 3), np.uint8), "the large ship on the left")
    print(json.dumps(numbers | {"peak_answered": peak_memory(), "first_mask": time.perf_counter() - start}))


if __name__ == "__main__":
    main()
