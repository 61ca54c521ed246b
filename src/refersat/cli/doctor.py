"""`refersat doctor`: what is installed, what it can run on, and whether it works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import typer

MODULES = {
    "torch": "torch",
    "transformers": "transformers",
    "safetensors": "safetensors",
    "sentencepiece": "sentencepiece",
    "numpy": "numpy",
    "pillow": "PIL",
    "opencv-python-headless": "cv2",
    "rasterio": "rasterio",
    "shapely": "shapely",
    "pyogrio": "pyogrio",
}


@dataclass(frozen=True)
class Finding:
    """One line of the report: a thing looked at, whether it is as it should be, and what was seen."""

    subject: str
    good: bool
    detail: str


def doctor() -> None:
    """Show versions and devices, run the built-in model once, and say whether all is well."""
    well = True
    for finding in _examine():
        well &= finding.good
        typer.echo(f"{'ok ' if finding.good else 'BAD'}  {finding.subject:<23} {finding.detail}")
    if not well:
        typer.echo("Verdict: refersat cannot work before the lines marked BAD are put right.")
        raise typer.Exit(1)
    typer.echo("Verdict: all is well.")


def _examine() -> Iterator[Finding]:
    import importlib.util
    import platform

    import refersat

    yield Finding(
        "refersat", True, f"{refersat.__version__}, Python {platform.python_version()}, {platform.platform()}"
    )
    packages = [_package(name, module) for name, module in MODULES.items()]
    yield from packages
    if importlib.util.find_spec("torchvision") is not None:
        yield _torchvision()
    if all(package.good for package in packages):
        yield from _devices()
        yield _built_in_model()


def _package(name: str, module: str) -> Finding:
    """Imports the package: a shared library that is missing shows only then."""
    import importlib.metadata

    try:
        importlib.import_module(module)
        return Finding(name, True, importlib.metadata.version(name))
    except Exception as error:  # a broken binary raises whatever it likes
        return Finding(name, False, _one_line(error))


def _torchvision() -> Finding:
    """Not needed, but transformers imports it where it is installed, and one built for another torch breaks that."""
    finding = _package("torchvision", "torchvision")
    return finding if finding.good else Finding("torchvision", False, f"{finding.detail} (not needed: uninstall it)")


def _devices() -> Iterator[Finding]:
    import shutil

    import torch

    yield Finding("device cpu", True, f"{torch.get_num_threads()} threads")
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield Finding(f"device cuda:{index}", True, f"{device.name}, {device.total_memory / 2**30:.0f} GiB")
    if shutil.which("nvidia-smi") and not torch.cuda.is_available():
        yield Finding(
            "device cuda", True, "nvidia-smi is here, but this torch cannot use the GPU: refersat runs on the CPU"
        )
    if torch.backends.mps.is_available():
        yield Finding("device mps", True, "available")


def _built_in_model() -> Finding:
    """Loads the model of the package and asks it for something in an empty image."""
    import numpy as np

    import refersat

    try:
        segmenter = refersat.load("built-in")
        start = time.perf_counter()
        segmenter(np.zeros((256, 256, 3), dtype=np.uint8), "the ship")
    except Exception as error:
        return Finding("built-in model", False, _one_line(error))
    return Finding("built-in model", True, f"answers in {time.perf_counter() - start:.2f} s")


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
