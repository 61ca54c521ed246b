"""A model folder loads whatever its files are, without the network, and every defect is one clear line."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from refersat.errors import UserError
from refersat.models import checkpoint
from refersat.models.checkpoint import read_state_dict
from refersat.models.loading import load_model
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.models.zoo import ModelCard

Write = Callable[..., Path]
KINDS = ["whole safetensors", "sharded safetensors", "whole bin", "sharded bin"]


def answer(model: RS2Sam2Model, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    pixels, union = (torch.randn(1, 3, side, side, generator=generator).to(dtype) for side in (64, 32))
    with torch.inference_mode():
        out = model(pixels, union, torch.tensor([[0, 5, 6, 2]]), torch.ones(1, 4, dtype=torch.bool))
    assert out.logits is not None
    return out.logits


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("no_network")
def test_released_folders_give_the_same_model(
    tmp_path: Path,
    write_released: Write,
    tiny_model: RS2Sam2Model,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    monkeypatch.setattr(checkpoint, "GROUP_BYTES", 200_000)
    loaded = load_model(write_released(tmp_path / "release", kind))
    assert loaded.name == "release"
    assert loaded.card is None
    assert not loaded.model.training
    assert loaded.tokenizer.max_length == loaded.model.config.max_text_length == 12
    expected = tiny_model.state_dict()
    state = loaded.model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    assert all(parameter.requires_grad for parameter in loaded.model.parameters())


@pytest.mark.usefixtures("no_network")
def test_our_folder_loads_and_answers_alike(own_folder: Path, tiny_model: RS2Sam2Model) -> None:
    ModelCard(name="mine", notes=("a note",)).save(own_folder)
    loaded = load_model(str(own_folder))
    assert loaded.card is not None
    assert loaded.card.notes == ("a note",)
    assert torch.equal(answer(loaded.model), answer(tiny_model))


def test_the_model_outlives_its_files(tmp_path: Path, write_released: Write, tiny_model: RS2Sam2Model) -> None:
    folder = write_released(tmp_path / "release", "whole bin")
    loaded = load_model(folder, dtype=torch.float16)
    for file in folder.iterdir():
        file.write_bytes(b"")
    shutil.rmtree(folder)
    assert all(parameter.dtype == torch.float16 for parameter in loaded.model.parameters())
    assert torch.equal(answer(loaded.model.float()), answer(tiny_model))


def test_bfloat16_keeps_the_position_frequencies(own_folder: Path, tiny_model: RS2Sam2Model) -> None:
    model = load_model(own_folder, dtype=torch.bfloat16).model
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    frequencies = model.prompt_encoder.shared_embedding.positional_embedding
    assert torch.equal(frequencies, tiny_model.prompt_encoder.shared_embedding.positional_embedding)
    reference = answer(tiny_model)
    error = (answer(model, torch.bfloat16) - reference).abs().max()
    assert error < 0.1 * (reference.max() - reference.min())


def test_a_name_wins_over_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own_folder: Path
) -> None:
    monkeypatch.setenv("REFERSAT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    own_folder.rename(tmp_path / "evf-sam2")
    with pytest.raises(UserError, match="refersat models fetch evf-sam2"):
        load_model("evf-sam2")
    assert load_model("./evf-sam2").name == "evf-sam2"
    assert load_model(Path("evf-sam2")).name == "evf-sam2"
    shutil.copytree(tmp_path / "evf-sam2", tmp_path / "home/models/evf-sam2")
    assert load_model("evf-sam2").name == "evf-sam2"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no-such-model", "neither a folder nor a model's name; the names are: built-in, built-in-pslg, rs2sam2"),
        ("", "not a model folder"),
        ("a\0b", "neither a folder"),
        ("sam3", "refersat models fetch sam3"),
    ],
)
def test_wrong_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        load_model(name)


def test_a_file_is_not_a_folder(own_folder: Path) -> None:
    with pytest.raises(UserError, match="is a file: give the folder"):
        load_model(own_folder / "model.safetensors")


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps(content))


def damage_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def list_as_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def other_type(folder: Path) -> None:
    rewrite(folder, model_type="bert")


def impossible_size(folder: Path) -> None:
    rewrite(folder, image_size=65)


def text_as_size(folder: Path) -> None:
    rewrite(folder, hidden_size="wide")


def other_size(folder: Path) -> None:
    rewrite(folder, union_feed_forward=16)


def more_layers(folder: Path) -> None:
    rewrite(folder, union_layers=3)


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def unknown_weight(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "extra.weight": torch.zeros(2)}, path)


def no_tokenizer(folder: Path) -> None:
    (folder / "sentencepiece.bpe.model").unlink()


def damage_tokenizer(folder: Path) -> None:
    (folder / "sentencepiece.bpe.model").write_bytes(b"x")


def damage_card(folder: Path) -> None:
    (folder / "card.json").write_text('{"summary": "no name"}')


DEFECTS: list[tuple[Callable[[Path], None], str]] = [
    (lambda folder: (folder / "config.json").unlink(), r"not a model folder: it has no config\.json"),
    (damage_config, r"cannot read .*config\.json"),
    (list_as_config, "must hold a JSON object"),
    (other_type, r'model_type "bert"; refersat runs rs2sam2 .*, evf .* and sam3 .*grounding-dino and sam2'),
    (impossible_size, r"config\.json describes no possible model: .*multiple of 32"),
    (text_as_size, r"config\.json describes no possible model"),
    (other_size, r"\d+ weights have another shape than its config\.json says: .*\[32, 64\] instead of \[16, 64\]"),
    (more_layers, r"40 weights are missing: union_encoder\.layers\.2\..* and 35 more"),
    (lambda folder: (folder / "model.safetensors").unlink(), "holds no weights"),
    (truncate, r"model\.safetensors is damaged"),
    (empty_weights, r"model\.safetensors is damaged"),
    (unknown_weight, r"1 weights have no place in the model: extra\.weight"),
    (no_tokenizer, r"lacks its tokenizer, sentencepiece\.bpe\.model"),
    (damage_tokenizer, "is not a SentencePiece model"),
    (damage_card, r"card\.json is not a model card"),
]


@pytest.mark.parametrize(("defect", "message"), DEFECTS)
def test_defects_of_our_folders(own_folder: Path, defect: Callable[[Path], None], message: str) -> None:
    defect(own_folder)
    with pytest.raises(UserError, match=message) as caught:
        load_model(own_folder)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_of_another_model_is_refused(own_folder: Path) -> None:
    rewrite(own_folder, vocab_size=10)
    with pytest.raises(UserError, match=r"more than the model's 10"):
        load_model(own_folder)


@pytest.mark.parametrize("kind", ["sharded safetensors", "sharded bin"])
def test_missing_shards_are_named(tmp_path: Path, write_released: Write, kind: str) -> None:
    folder = write_released(tmp_path / "release", kind)
    gone = next(folder.glob("*-00002-of-00003.*"))
    gone.unlink()
    with pytest.raises(UserError, match=f"lacks 1 of 3 weight files: {gone.name}"):
        load_model(folder)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("{}", "not an index"),
        ("no json", "not an index"),
        ('{"weight_map": {"a": 1}}', "not an index"),
        ('{"weight_map": {"a": "../x.bin"}}', "outside its folder"),
    ],
)
def test_damaged_indexes(tmp_path: Path, write_released: Write, index: str, message: str) -> None:
    folder = write_released(tmp_path / "release", "sharded bin")
    (folder / "pytorch_model.bin.index.json").write_text(index)
    with pytest.raises(UserError, match=message):
        load_model(folder)


def test_the_name_of_beit3s_tokenizer_is_known(tmp_path: Path, write_released: Write) -> None:
    folder = write_released(tmp_path / "release")
    (folder / "sentencepiece.bpe.model").rename(folder / "beit3.spm")
    assert load_model(folder).tokenizer.encode("the a ship")[-1] == 2


class Hostile:
    """Runs a command when it is unpickled by a careless reader."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.marker}'",)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_hostile_pickles_are_refused_and_not_run(tmp_path: Path, write_released: Write, writer: str) -> None:
    folder, marker = write_released(tmp_path / "release", "whole bin"), tmp_path / "ran"
    weights = folder / "pytorch_model.bin"
    if writer == "torch":
        torch.save({"a": Hostile(marker)}, weights)
    else:
        weights.write_bytes(pickle.dumps({"a": Hostile(marker)}, protocol=2))
    with pytest.raises(UserError, match="holds more than tensors"):
        load_model(folder)
    assert not marker.exists()
    # The file is hostile indeed.
    if writer == "torch":
        torch.load(weights, weights_only=False)
    else:
        pickle.loads(weights.read_bytes())
    assert marker.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"version 1\nsize 10\n", b"PK\x03\x04 not really", pickle.dumps([1, 2], 2), pickle.dumps({"a": 1}, 2)],
)
def test_files_that_are_no_weights(tmp_path: Path, write_released: Write, content: bytes) -> None:
    folder = write_released(tmp_path / "release", "whole bin")
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(UserError, match=r"pytorch_model\.bin") as caught:
        load_model(folder)
    assert "\n" not in str(caught.value)


def test_truncated_pickles(tmp_path: Path, write_released: Write) -> None:
    weights = write_released(tmp_path / "release", "whole bin") / "pytorch_model.bin"
    weights.write_bytes(weights.read_bytes()[:-5000])
    with pytest.raises(UserError, match="damaged"):
        load_model(weights.parent)


@pytest.mark.parametrize("zipped", [True, False])
def test_reading_one_file_for_initialisation(tmp_path: Path, zipped: bool) -> None:
    tensors = {"beit3.text_embed.weight": torch.arange(6.0).view(2, 3)}
    torch.save({"model": tensors}, tmp_path / "beit3.pth", _use_new_zipfile_serialization=zipped)
    read = read_state_dict(tmp_path / "beit3.pth")
    assert list(read) == list(tensors)
    assert torch.equal(read["beit3.text_embed.weight"], tensors["beit3.text_embed.weight"])
    with pytest.raises(UserError, match="no weight file"):
        read_state_dict(tmp_path / "none.pth")
