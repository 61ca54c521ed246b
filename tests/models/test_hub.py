"""Fetching without a network: a folder stands for the hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from refersat.errors import UserError
from refersat.models import hub, store
from refersat.models.hub import Select, Snapshot, convert, fetch, select_files
from refersat.models.loading import load_model
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.models.zoo import ModelCard

Write = Callable[..., Path]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class LocalHub:
    """Repositories as folders; counts what is asked of it."""

    def __init__(self, root: Path, target: Path) -> None:
        self.root, self.target = root, target
        self.asked: list[tuple[str, str, list[str]]] = []

    def __call__(self, repository: str, revision: str, select: Select) -> Snapshot:
        source = self.root / repository
        files = [str(file.relative_to(source)) for file in source.rglob("*") if file.is_file()]
        chosen = select(sorted(files))
        self.asked.append((repository, revision, chosen))
        for name in chosen:
            copy = self.target / repository / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / name, copy)
        return Snapshot(self.target / repository, COMMIT)


@pytest.fixture
def local_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalHub:
    monkeypatch.setenv("REFERSAT_HOME", str(tmp_path / "home"))
    return LocalHub(tmp_path / "hub", tmp_path / "cache")


@pytest.mark.parametrize("kind", ["whole safetensors", "sharded bin"])
@pytest.mark.usefixtures("no_network")
def test_fetch_converts_records_and_stores(
    local_hub: LocalHub, write_released: Write, tiny_model: RS2Sam2Model, kind: str
) -> None:
    write_released(local_hub.root / "ReeF2025/RS2-SAM2/rrsisd", kind)
    (local_hub.root / "ReeF2025/RS2-SAM2/README.md").write_text("not needed")
    steps: list[str] = []
    folder = fetch("rs2sam2-rrsisd", download=local_hub, report=steps.append)

    assert folder == store.model_folder("rs2sam2-rrsisd")
    assert len(local_hub.asked) == 1
    assert all(name.startswith("rrsisd/") for name in local_hub.asked[0][2])
    assert len(steps) == 2
    names = {file.name for file in folder.iterdir()}
    assert names == {"config.json", "model.safetensors", "sentencepiece.bpe.model", "card.json", "SHA256SUMS"}
    card = ModelCard.read(folder)
    assert card is not None
    assert card.revision == COMMIT
    assert card.published["RRSIS-D test"]["mIoU"] == 66.72
    assert card.sha256 == {name: store.sha256(folder / name) for name in names - {"card.json", "SHA256SUMS"}}
    assert store.damaged_files(folder) == []
    assert {tensor.dtype for tensor in load_file(folder / "model.safetensors").values()} == {torch.float16}

    loaded = load_model("rs2sam2-rrsisd")
    assert loaded.name == "rs2sam2-rrsisd"
    assert loaded.card == card
    expected = tiny_model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.model.state_dict().items())
    assert [file.name for file in folder.parent.iterdir()] == ["rs2sam2-rrsisd"]


def test_what_is_stored_is_what_transformers_reads(local_hub: LocalHub, write_released: Write) -> None:
    write_released(local_hub.root / "YxZhang/evf-sam2")
    folder = fetch("evf-sam2", download=local_hub)
    model = RS2Sam2Model.from_pretrained(folder, local_files_only=True)
    assert model.config.trunk_widths == [16, 32, 64, 128]


def test_a_missing_tokenizer_comes_from_where_one_is_known(
    local_hub: LocalHub, write_released: Write, tokenizer_file: Path
) -> None:
    write_released(local_hub.root / "ReeF2025/RS2-SAM2/refseg", tokenizer=False)
    other = local_hub.root / "YxZhang/evf-sam2"
    other.mkdir(parents=True)
    shutil.copy(tokenizer_file, other / "sentencepiece.bpe.model")
    folder = fetch("rs2sam2-refsegrs", download=local_hub)
    assert (folder / "sentencepiece.bpe.model").read_bytes() == tokenizer_file.read_bytes()
    assert local_hub.asked[1] == ("YxZhang/evf-sam2", "main", ["sentencepiece.bpe.model"])


def test_a_failed_fetch_leaves_the_older_copy(
    local_hub: LocalHub, write_released: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = write_released(local_hub.root / "YxZhang/evf-sam2")
    folder = fetch("evf-sam2", download=local_hub)
    before = store.digests(folder)
    weights = release / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(UserError, match="damaged"):
        fetch("evf-sam2", download=local_hub)
    assert store.digests(folder) == before

    weights.write_bytes(whole)

    def fail(_: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(store, "write_sums", fail)
        with pytest.raises(UserError, match=r"cannot write .*No space left"):
            fetch("evf-sam2", download=local_hub)
    assert store.digests(folder) == before
    assert [file.name for file in folder.parent.iterdir()] == ["evf-sam2"]
    fetch("evf-sam2", download=local_hub)
    assert load_model("evf-sam2").card is not None


@pytest.mark.usefixtures("no_network")
def test_without_a_network_one_is_told_what_to_carry(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", str(local_hub.target))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(local_hub.target))
    with pytest.raises(UserError) as caught:
        fetch("rs2sam2-rrsisd")
    message = str(caught.value)
    assert message.startswith("cannot fetch rs2sam2-rrsisd: ReeF2025/RS2-SAM2 is out of reach")
    for part in ("config.json", "*.safetensors", "sentencepiece.bpe.model", "folder rrsisd", "--model FOLDER"):
        assert part in message
    assert "\n" not in message
    assert not store.store_folder().exists()


def test_http_failures_say_the_same(local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("503\nService Unavailable")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    with pytest.raises(UserError, match=r"out of reach \(503 Service Unavailable\); to carry it by hand"):
        fetch("evf-sam2")


def test_from_hugging_face_pins_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    class Sibling:
        def __init__(self, name: str) -> None:
            self.rfilename = name

    class Info:
        sha = COMMIT
        siblings = (Sibling("config.json"), Sibling("model.safetensors"), Sibling("pytorch_model.bin"))

    def snapshot(repository: str, **options: object) -> str:
        calls.append((repository, options))
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda self, repository, revision: Info())
    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    got = hub.from_hugging_face("a/b", "main", lambda files: select_files(files, ""))
    assert got == Snapshot(tmp_path, COMMIT)
    assert calls == [("a/b", {"revision": COMMIT, "allow_patterns": ["config.json", "model.safetensors"]})]


def test_the_built_in_model_is_not_fetched() -> None:
    with pytest.raises(UserError, match="nothing to fetch"):
        fetch("built-in")


@pytest.mark.parametrize(
    ("files", "folder", "expected"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin"], "", ["config.json", "model.safetensors"]),
        (
            ["x/config.json", "x/pytorch_model-00001-of-00002.bin", "x/pytorch_model.bin.index.json", "config.json"],
            "x",
            ["x/config.json", "x/pytorch_model-00001-of-00002.bin", "x/pytorch_model.bin.index.json"],
        ),
        (
            ["config.json", "beit3.spm", "model-00001-of-00001.safetensors", "model.safetensors.index.json", "a.py"],
            "",
            ["beit3.spm", "config.json", "model-00001-of-00001.safetensors", "model.safetensors.index.json"],
        ),
    ],
)
def test_only_what_is_needed_is_downloaded(files: list[str], folder: str, expected: list[str]) -> None:
    assert select_files(files, folder) == expected


@pytest.mark.parametrize(
    "files", [[], ["config.json"], ["model.safetensors"], ["y/config.json", "y/model.safetensors"]]
)
def test_a_repository_without_a_model_is_told(files: list[str]) -> None:
    with pytest.raises(UserError, match="holds no model"):
        select_files(files, "")


@pytest.mark.usefixtures("no_network")
def test_convert_by_hand(tmp_path: Path, write_released: Write) -> None:
    release = write_released(tmp_path / "release", "sharded safetensors")
    target = tmp_path / "deep" / "ours"
    convert(release, target)
    card = ModelCard.read(target)
    assert card is not None
    assert card.name == "ours"
    assert json.loads((target / "config.json").read_text())["model_type"] == "rs2sam2"
    with pytest.raises(UserError, match="already there"):
        convert(release, target)
    again = tmp_path / "again"
    convert(target, again)
    assert store.sha256(again / "model.safetensors") == store.sha256(target / "model.safetensors")


def test_convert_where_one_may_not_write(tmp_path: Path, write_released: Write) -> None:
    release = write_released(tmp_path / "release")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="cannot write to"):
        convert(release, tmp_path / "file" / "ours")


def test_damage_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"2")
    assert store.damaged_files(tmp_path) == []
    store.write_sums(tmp_path)
    assert store.damaged_files(tmp_path) == []
    (tmp_path / "a").write_bytes(b"3")
    (tmp_path / "b").unlink()
    assert store.damaged_files(tmp_path) == ["a", "b"]


def test_the_store_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REFERSAT_HOME", str(tmp_path))
    assert store.model_folder("x") == tmp_path / "models" / "x"
    monkeypatch.delenv("REFERSAT_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert store.store_folder() == tmp_path / "cache" / "refersat" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert store.store_folder() == Path.home() / ".cache" / "refersat" / "models"
