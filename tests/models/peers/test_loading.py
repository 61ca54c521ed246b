"""A peer's folder loads without the network, and every defect of it is one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers.utils import logging

import refersat
from refersat.errors import UserError
from refersat.models.hub import convert
from refersat.models.loading import load_model
from refersat.models.zoo import ModelCard

Copy = Callable[[Path], Path]


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize("source", ["sam3_source", "sam3_video_source", "grounded_source"])
def test_folders_load_offline_and_quietly(
    source: str, copied: Copy, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = copied(request.getfixturevalue(source))
    ModelCard(name="mine", notes=("a note",)).save(folder)
    capfd.readouterr()
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    loaded = load_model(folder)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == (bars, level)
    assert loaded.name == folder.name
    assert loaded.card is not None
    assert loaded.card.notes == ("a note",)
    assert loaded.answerer(device=torch.device("cpu"), dtype=torch.float32).parameters > 100_000


@pytest.mark.usefixtures("no_network")
def test_a_peer_goes_by_its_name_once_it_is_in_the_store(
    grounded_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFERSAT_HOME", str(tmp_path))
    with pytest.raises(UserError, match="refersat models fetch grounded-sam2"):
        refersat.load("grounded-sam2")
    shutil.copytree(grounded_source, tmp_path / "models/grounded-sam2")
    assert refersat.load("grounded-sam2", device="cpu").name == "grounded-sam2"


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def pickled(folder: Path) -> None:
    path = folder / "model.safetensors"
    torch.save(load_file(path), folder / "pytorch_model.bin")
    path.unlink()


def without_some(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({name: tensors[name] for name in sorted(tensors)[8:]}, path, metadata={"format": "pt"})


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink(missing_ok=True)
    (folder / "vocab.txt").unlink(missing_ok=True)


def damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")


def other_tokenizer(folder: Path) -> None:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", "ship"]
    (folder / "vocab.txt").write_text("\n".join(words))


def other_preparation(folder: Path) -> None:
    (folder / "preprocessor_config.json").write_text('{"do_normalize": false}')


COMMON: list[tuple[Callable[[Path], None], str]] = [
    (no_weights, "holds no weights"),
    (truncated, r"model\.safetensors is damaged"),
    (pickled, r"holds pickled weights only \(pytorch_model\.bin\)"),
    (without_some, r"8 weights are missing: .* and 3 more"),
    (other_preparation, r"preprocessor_config\.json asks for images that refersat cannot prepare"),
]


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        *COMMON,
        (no_tokenizer, "lacks its tokenizer"),
        (damaged_tokenizer, "cannot be loaded"),
        (lambda folder: rewrite(folder, vision_config={"fpn_hidden_size": "wide"}), "cannot be loaded"),
        (lambda folder: (folder / "config.json").write_text("{"), r"cannot read .*config\.json"),
        (lambda folder: rewrite(folder, model_type="sam"), r'model_type "sam"; refersat runs .* sam3 or sam3_video'),
    ],
)
def test_defects_of_sam3(sam3_source: Path, copied: Copy, defect: Callable[[Path], None], message: str) -> None:
    folder = copied(sam3_source)
    defect(folder)
    check_failure(folder, message)


@pytest.mark.parametrize(
    ("part", "defect", "message"),
    [
        *(("sam2", *case) for case in COMMON),
        ("grounding-dino", no_tokenizer, "lacks its tokenizer"),
        ("grounding-dino", other_tokenizer, "the tokenizer of .* belongs to another model"),
        (
            "grounding-dino",
            lambda folder: rewrite(folder, model_type="detr"),
            "says model_type detr, not grounding-dino",
        ),
        ("grounding-dino", shutil.rmtree, r"grounding-dino is not a model folder: it has no config\.json"),
        ("sam2", shutil.rmtree, r"sam2 is not a model folder: it has no config\.json"),
    ],
)
def test_defects_of_grounded_sam2(
    grounded_source: Path, copied: Copy, part: str, defect: Callable[[Path], None], message: str
) -> None:
    folder = copied(grounded_source)
    defect(folder / part)
    check_failure(folder, message)


def check_failure(folder: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_one_half_alone_is_told_what_is_missing(grounded_source: Path) -> None:
    for part in ("grounding-dino", "sam2"):
        with pytest.raises(UserError, match=r"Grounding DINO [+] SAM 2 is a folder with the two in its subfolders"):
            load_model(grounded_source / part)


@pytest.mark.parametrize("source", ["sam3_source", "grounded_source"])
def test_there_is_nothing_to_convert(source: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    with pytest.raises(UserError, match="needs no conversion"):
        convert(request.getfixturevalue(source), tmp_path / "new")
    assert not (tmp_path / "new").exists()
