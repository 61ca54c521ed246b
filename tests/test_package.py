"""What gets installed is what the repository promises: light, typed, licensed, the built-in model inside."""

from __future__ import annotations

import email
import importlib.metadata
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import refersat

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1_000_000
PSLG_MOST = 7 * MEGABYTE


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = target.glob("*.whl")
    return built


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}


def test_the_version_has_one_source() -> None:
    assert refersat.__version__ == importlib.metadata.version("refersat")


def test_no_library_with_compiled_operators_tied_to_one_torch_is_required() -> None:
    required = names(importlib.metadata.requires("refersat") or [])
    assert "torch" in required
    assert not required & {"torchvision", "timm", "mmcv", "torchaudio"}


def test_every_bound_is_tested_with_a_pinned_version() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0].lower() for line in pins if "==" in line}
    assert names(importlib.metadata.requires("refersat") or []) - pinned == set()


def test_the_wheel_holds_the_built_in_models_and_stays_small(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    built_in = {"config.json", "model.safetensors", "sentencepiece.bpe.model", "card.json"}
    pslg = {"pslg.json", "card.json", "grounder/model.safetensors", "sam/model.safetensors"}
    assert {f"refersat/assets/built-in/{name}" for name in built_in} | {"refersat/py.typed"} <= packed
    assert {f"refersat/assets/built-in-pslg/{name}" for name in pslg} <= packed
    assert wheel.stat().st_size < 30 * MEGABYTE + PSLG_MOST


def test_the_wheel_names_its_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(path))
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
