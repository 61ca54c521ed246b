"""PSLG-SAM from a folder: loaded, refused with a reason, put together, fetched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import refersat
from refersat.cli.main import main
from refersat.errors import UserError
from refersat.evaluation.provenance import model_files
from refersat.models import hub, store, zoo
from refersat.models.hub import Select, Snapshot
from refersat.models.pslg.folder import PslgDescription, network_folders
from refersat.models.pslg.options import PslgOptions
from refersat.models.pslg.system import PslgSam, PslgSteps
from refersat.models.zoo import ModelCard
from tests.models.tiny_pslg import save_grounder, save_pslg
from tests.models.tiny_sam import save_sam2

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, tokenizer_file: Path) -> Path:
    return save_pslg(tmp_path_factory.mktemp("pslg") / "pslg", tokenizer_file)


@pytest.fixture
def folder(source: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(source, tmp_path / "pslg"))


@pytest.mark.usefixtures("no_network")
def test_a_folder_is_a_model(source: Path) -> None:
    ask = refersat.load(source, device="cpu")
    result = ask(IMAGE, "the ship on the left")
    assert isinstance(result.steps, PslgSteps)
    assert result.model == "pslg"
    assert result.score == pytest.approx(result.steps.score)
    assert result.steps.threshold == 0.5  # the grounder's configuration says so
    assert result.steps.fine.point is not None
    again = refersat.load(source, device="cpu")(IMAGE, "the ship on the left")
    np.testing.assert_array_equal(result.probability, again.probability)


def test_its_choices_are_read(folder: Path) -> None:
    choices = {"presence_threshold": 0.07, "use_point": False, "boundary": {"iterations": 2}, "point": {"seed": 3}}
    (folder / "pslg.json").write_text(json.dumps(choices))
    read = PslgDescription.read(folder)
    assert (read.boundary.iterations, read.point.seed, read.grounder, read.sam) == (2, 3, "grounder", "sam")
    steps = refersat.load(folder, device="cpu")(IMAGE, "a ship").steps
    assert isinstance(steps, PslgSteps)
    assert steps.threshold == 0.07
    assert steps.fine.point is None
    read.save(folder)
    assert PslgDescription.read(folder) == read


def test_any_model_may_be_the_grounder_by_its_name(folder: Path) -> None:
    (folder / "pslg.json").write_text('{"grounder": "built-in"}')
    assert network_folders(folder)["grounder"] == zoo.folder_of("built-in")


def no_grounder(folder: Path) -> None:
    shutil.rmtree(folder / "grounder")


def no_sam(folder: Path) -> None:
    shutil.rmtree(folder / "sam")


def says(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "pslg.json").write_text(text)

    return write


def itself(folder: Path) -> None:
    (folder / "pslg.json").write_text(json.dumps({"grounder": str(folder)}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (
            no_grounder,
            r"has no grounder, and nobody published weights of one: train it .* or take a folder of Grounding",
        ),
        (no_sam, r"has no SAM: there is no .*sam; name its folder"),
        (says("{"), r"cannot read .*pslg\.json"),
        (says('{"grunder": "x"}'), r"pslg\.json: grunder: Extra inputs"),
        (says('{"use_point": "no"}'), r"pslg\.json: use_point: Input should be a valid boolean"),
        (says('{"boundary": {"least_iou": 2}}'), r"boundary\.least_iou: Input should be less than or equal to 1"),
        (says('{"sam": "grounder"}'), "masks from boxes and points come from sam2"),
        (says('{"grounder": "sam"}'), "says model_type"),
        (itself, "is a PSLG-SAM itself"),
    ],
)
def test_what_is_wrong_with_a_folder_is_told_in_one_line(
    folder: Path, damage: Callable[[Path], None], reason: str
) -> None:
    damage(folder)
    with pytest.raises(UserError, match=reason) as caught:
        refersat.load(folder, device="cpu")
    assert "\n" not in str(caught.value)


def test_assemble_leaves_the_networks_where_they_are(source: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    target = tmp_path / "mine"
    words = ["--grounder", str(source / "grounder"), "--sam", str(source / "sam")]
    assert main(["models", "assemble", str(target), *words, "--no-boundary", "--presence-threshold", "0.2"]) == 0
    assert sorted(file.name for file in target.iterdir()) == ["card.json", "pslg.json"]
    loaded = refersat.load(target, device="cpu")
    answerer = loaded._backend.answerer
    assert isinstance(answerer, PslgSam)
    assert answerer.presence_threshold == 0.2
    assert loaded(IMAGE, "a ship").steps.fine.boundary is None
    assert main(["models", "assemble", str(target), *words]) == 2
    assert main(["models", "info", str(target)]) == 0
    weights, descriptions = model_files(target)
    assert set(weights) == {"grounder/model.safetensors", "sam/model.safetensors"}
    assert {"pslg.json", "grounder/config.json", "sam/config.json"} <= set(descriptions)


@pytest.mark.parametrize(
    ("grounder", "sam", "reason"),
    [("nothing", "{sam}", "neither a folder nor a model's name"), ("{grounder}", "nothing", "is not a folder")],
)
def test_assemble_needs_both(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], grounder: str, sam: str, reason: str
) -> None:
    places = {"grounder": str(source / "grounder"), "sam": str(source / "sam")}
    words = ["--grounder", grounder.format(**places), "--sam", sam.format(**places)]
    assert main(["models", "assemble", str(tmp_path / "new"), *words]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_fetching_brings_sam_and_keeps_what_the_user_added(
    tmp_path: Path, tokenizer_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REFERSAT_HOME", str(tmp_path / "home"))
    cache = save_sam2(tmp_path / "cache")

    def download(repository: str, revision: str, select: Select) -> Snapshot:
        assert repository == "facebook/sam2.1-hiera-large"
        assert set(select([file.name for file in cache.iterdir()])) == {"config.json", "model.safetensors"}
        return Snapshot(cache, "c0ffee")

    said: list[str] = []
    folder = hub.fetch("pslg-sam", download=download, report=said.append)
    assert folder == store.model_folder("pslg-sam")
    assert any("a grounder is not part of it" in line and "pslg.json" in line for line in said)
    with pytest.raises(UserError, match="has no grounder, and nobody published weights"):
        refersat.load("pslg-sam", device="cpu")
    save_grounder(folder / "grounder", tokenizer_file)
    (folder / "pslg.json").write_text('{"use_boundary": false}')
    hub.fetch("pslg-sam", download=download)
    assert store.damaged_files(folder) == []
    card = ModelCard.read(folder)
    assert card is not None
    assert card.parts["sam"].revision == "c0ffee"
    result = refersat.load("pslg-sam", device="cpu")(IMAGE, "a ship")
    assert result.model == "pslg-sam"
    assert result.steps.fine.boundary is None


def test_the_built_in_one_is_planned_until_it_has_weights(
    source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(zoo, "folder_of", lambda name: tmp_path / name)
    with pytest.raises(UserError, match=r"built-in-pslg is planned: this version holds no weights .* models assemble"):
        refersat.load("built-in-pslg", device="cpu")
    assert "built-in-pslg" not in zoo.names()
    shutil.copytree(source, tmp_path / "built-in-pslg")
    assert zoo.names()[:2] == ["built-in", "built-in-pslg"]
    assert refersat.load("built-in-pslg", device="cpu").name == "built-in-pslg"


def test_options_have_a_word_for_every_choice() -> None:
    for options in (PslgOptions, *(type(value) for value in (PslgOptions().point, PslgOptions().boundary))):
        assert all(field.description for field in options.model_fields.values())
