"""Peak memory of loading a full-size released model: random float16 weights, in every kind of file that occurs.

Writes the folders (1.9 GB each) below --folder, one at a time, loads each in a process of its own and prints a table:

    python benchmarks/load_memory.py --folder /some/disk [--dtype bfloat16]
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

KEYS = Path(__file__).parent.parent / "tests" / "fixtures" / "keys_large.json.gz"
KINDS = ("whole safetensors", "sharded safetensors", "whole bin", "sharded bin")
SHARD_BYTES = 5 * 10**8
MIB = 2**20


def main() -> None:
    """Measure and print; with --load, be the process that is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where to write (default: the system's temporary folder)")
    parser.add_argument("--dtype", default="bfloat16", choices=["float16", "bfloat16", "float32"])
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(options.load, options.dtype)
        return
    print(f"float16 on disk -> {options.dtype} in memory, MiB")
    print("| files | model | before | peak | peak - before - model | seconds |\n|---|---|---|---|---|---|")
    for kind in KINDS:
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
    model, before, peak = (numbers[name] / MIB for name in ("model", "before", "peak"))
    extra = peak - before - model
    print(f"| {kind} | {model:.0f} | {before:.0f} | {peak:.0f} | {extra:.0f} | {numbers['seconds']:.1f} |", flush=True)


def load(folder: Path, dtype: str) -> None:
    """Load and print what it took, as JSON."""
    from refersat.models.loading import load_model

    before = peak_memory()
    start = time.perf_counter()
    model = load_model(folder, dtype=getattr(torch, dtype)).model
    seconds = time.perf_counter() - start
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    print(json.dumps({"before": before, "peak": peak_memory(), "model": size, "seconds": seconds}))


def peak_memory() -> int:
    """The most memory this process ever held, mapped files included, in bytes (Linux: VmHWM)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
