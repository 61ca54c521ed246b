"""Fetching peers without a network: a folder stands for the hub."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import refersat
from refersat.cli.main import main
from refersat.errors import UserError
from refersat.models import hub, store
from refersat.models.hub import Download, Select, Snapshot, fetch
from refersat.models.zoo import ModelCard

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Path]], Download]:
    """A hub with these repositories, each with some files that nobody needs."""
    monkeypatch.setenv("REFERSAT_HOME", str(tmp_path / "home"))

    def make(repositories: dict[str, Path]) -> Download:
        def download(repository: str, revision: str, select: Select) -> Snapshot:
            assert revision == "main"
            target = tmp_path / "cache" / repository
            shutil.copytree(repositories[repository], target)
            for name in ("README.md", "weights.pt", "pytorch_model.bin"):
                (target / name).write_text("not needed")
            chosen = select(sorted(file.name for file in target.iterdir()))
            assert "config.json" in chosen
            assert "pytorch_model.bin" not in chosen
            return Snapshot(target, COMMIT)

        return download

    return make


def test_sam3_is_kept_as_it_is(hub_of: Callable[..., Download], sam3_video_source: Path) -> None:
    steps: list[str] = []
    folder = fetch("sam3", download=hub_of({"facebook/sam3": sam3_video_source}), report=steps.append)
    assert folder == store.model_folder("sam3")
    assert steps == ["downloading facebook/sam3 on Hugging Face, revision main", "copying and computing sha256"]
    kept = {file.name for file in sam3_video_source.iterdir()}
    assert {file.name for file in folder.iterdir()} == kept | {"card.json", "SHA256SUMS"}
    for name in kept:
        assert (folder / name).read_bytes() == (sam3_video_source / name).read_bytes()
    card = ModelCard.read(folder)
    assert card is not None
    assert card.parts[""].revision == COMMIT
    assert set(card.sha256) == kept
    assert refersat.load("sam3", device="cpu").name == "sam3"


def test_the_parts_of_grounded_sam2_lie_side_by_side(
    hub_of: Callable[..., Download],
    grounded_source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    sources = {
        "IDEA-Research/grounding-dino-base": grounded_source / "grounding-dino",
        "facebook/sam2.1-hiera-large": grounded_source / "sam2",
    }
    folder = fetch("grounded-sam2", download=hub_of(sources))
    assert {file.name for file in folder.iterdir()} == {"grounding-dino", "sam2", "card.json", "SHA256SUMS"}
    card = ModelCard.read(folder)
    assert card is not None
    assert {part: source.revision for part, source in card.parts.items()} == {"grounding-dino": COMMIT, "sam2": COMMIT}
    assert "sam2/model.safetensors" in card.sha256
    assert refersat.load("grounded-sam2", device="cpu").name == "grounded-sam2"

    monkeypatch.setenv("COLUMNS", "200")
    assert main(["models", "info", "grounded-sam2", "--verify"]) == 0
    out = capsys.readouterr().out
    for text in (f"facebook/sam2.1-hiera-large on Hugging Face, revision {COMMIT}", "Apache-2.0", str(folder)):
        assert text in out
    (folder / "sam2/config.json").write_text("{}")
    assert store.damaged_files(folder) == ["sam2/config.json"]
    assert main(["models", "info", "grounded-sam2", "--verify"]) == 2


def test_a_failed_fetch_leaves_nothing(
    hub_of: Callable[..., Download], grounded_source: Path, copied: Callable[[Path], Path]
) -> None:
    source = copied(grounded_source)
    (source / "sam2/model.safetensors").write_bytes(b"cut short")
    sources = {
        "IDEA-Research/grounding-dino-base": source / "grounding-dino",
        "facebook/sam2.1-hiera-large": source / "sam2",
    }
    with pytest.raises(UserError, match="damaged"):
        fetch("grounded-sam2", download=hub_of(sources))
    assert not list(store.store_folder().iterdir())


def test_without_a_network_one_is_told_what_to_carry() -> None:
    def fail(repository: str, revision: str, select: Select) -> Snapshot:
        raise UserError(f"{repository} is out of reach")

    with pytest.raises(UserError) as caught:
        fetch("grounded-sam2", download=fail)
    message = str(caught.value)
    for part in (
        "cannot fetch grounded-sam2: IDEA-Research/grounding-dino-base is out of reach",
        "of IDEA-Research/grounding-dino-base on Hugging Face, revision main into FOLDER/grounding-dino",
        " facebook/sam2.1-hiera-large on Hugging Face, revision main into FOLDER/sam2",
        "--model FOLDER",
    ):
        assert part in message
    assert "\n" not in message


def test_gated_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import GatedRepoError

    def refuse(*_: object, **__: object) -> str:
        raise GatedRepoError("403", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]

    info = SimpleNamespace(sha=COMMIT, siblings=[SimpleNamespace(rfilename="config.json")])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: info)
    monkeypatch.setattr("huggingface_hub.snapshot_download", refuse)
    with pytest.raises(UserError, match=r"facebook/sam3 is gated: ask for access .* HF_TOKEN"):
        hub.from_hugging_face("facebook/sam3", "main", lambda files: list(files))
