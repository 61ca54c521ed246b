"""Which files an evaluation is tied to."""

import hashlib

import pytest
import torch
from safetensors.torch import save_file

from refersat.errors import UserError
from refersat.models.identity import model_files


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_weights_and_descriptions_of_a_folder(tmp_path):
    save_file({"w": torch.ones(1)}, tmp_path / "model.safetensors")
    for name in ("config.json", "card.json", "README.md", "sentencepiece.bpe.model"):
        (tmp_path / name).write_text("{}")
    weights, descriptions = model_files(tmp_path)
    assert weights == {"model.safetensors": digest(tmp_path / "model.safetensors")}
    assert sorted(descriptions) == ["config.json", "sentencepiece.bpe.model"]  # a card changes no answer


def test_a_model_of_parts(tmp_path):
    for part in ("detector", "masks"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "config.json").write_text("{}")
        save_file({"w": torch.ones(1)}, tmp_path / part / "model.safetensors")
    weights, descriptions = model_files(tmp_path)
    assert list(weights) == ["detector/model.safetensors", "masks/model.safetensors"]
    assert list(descriptions) == ["detector/config.json", "masks/config.json"]


def test_no_weights_are_told(tmp_path):
    with pytest.raises(UserError, match="holds no weights"):
        model_files(tmp_path)
