"""`refersat models` prints what it should, where it should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from refersat.cli.main import main
from refersat.errors import UserError
from refersat.models import store, zoo
from refersat.models.zoo import ModelCard


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REFERSAT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path / "home"


@pytest.fixture
def stored() -> Path:
    """A model that looks fetched; its weights are never opened here."""
    folder = store.model_folder("rs2sam2-rrsisd")
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    card = zoo.card("rs2sam2-rrsisd").as_dict() | {"revision": "abc123", "measured": {"RRSIS-D test": {"mIoU": 66.7}}}
    (folder / "card.json").write_text(json.dumps(card))
    store.write_sums(folder)
    return folder


def test_list_shows_every_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in zoo.names())
    assert "none stated" in out
    assert "pslg-sam" in out


@pytest.mark.usefixtures("stored")
def test_list_as_json_says_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == zoo.names()
    assert rows["rs2sam2-rrsisd"]["here"] is True
    assert rows["evf-sam2"]["here"] is False


def test_info_of_a_model_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", "rs2sam2-refsegrs"]) == 0
    out = capsys.readouterr().out
    for part in ("73.9", "not yet", "none stated", "ReeF2025/RS2-SAM2, folder refseg", "models fetch rs2sam2-refsegrs"):
        assert part in out


def test_info_reads_the_card_beside_the_weights(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", "rs2sam2-rrsisd", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["revision"] == "abc123"
    assert card["folder"] == str(stored)
    assert main(["models", "info", str(stored)]) == 0
    out = capsys.readouterr().out
    assert "abc123" in out
    assert "RRSIS-D test: mIoU 66.7\n" in out.replace(" \n", "\n").replace("  ", " ") or "mIoU 66.7 " in out


def test_info_verifies_digests(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "info", "rs2sam2-rrsisd", "--verify"]) == 0
    (stored / "config.json").write_text('{"changed": true}')
    assert main(["models", "info", "rs2sam2-rrsisd", "--verify"]) == 2
    assert "config.json differ from SHA256SUMS" in capsys.readouterr().err
    assert main(["models", "info", "evf-sam2", "--verify"]) == 2
    assert "not on this machine" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "nothing"], "no model is called nothing"),
        (["fetch", "nothing"], "no model is called nothing"),
        (["fetch", "built-in"], "nothing to fetch"),
        (["convert", "no-folder", "out"], "no-folder is not a folder"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert main(["models", *words]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_a_folder_without_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert main(["models", "info", str(tmp_path)]) == 2
    assert "has no card.json" in capsys.readouterr().err


def test_fetch_prints_the_folder_and_reports_on_stderr(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fetch(name: str, *, report: object) -> Path:
        assert callable(report)
        report(f"downloading {name}")
        return home / name

    monkeypatch.setattr("refersat.models.hub.fetch", fetch)
    assert main(["models", "fetch", "evf-sam2"]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{home / 'evf-sam2'}\n"
    assert captured.err == "downloading evf-sam2\n"


def test_convert_passes_its_folders_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[tuple[Path, Path]] = []

    def convert(source: Path, target: Path) -> None:
        asked.append((source, target))
        if target.name == "bad":
            raise UserError("no good")

    monkeypatch.setattr("refersat.models.hub.convert", convert)
    assert main(["models", "convert", str(tmp_path), str(tmp_path / "good")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'good'}\n"
    assert main(["models", "convert", str(tmp_path), str(tmp_path / "bad")]) == 2
    assert asked == [(tmp_path, tmp_path / "good"), (tmp_path, tmp_path / "bad")]


def test_a_card_with_odd_text_is_printed_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{}")
    ModelCard(name="odd", summary="[red]not a colour[/red]").save(tmp_path)
    assert main(["models", "info", str(tmp_path)]) == 0
    assert "[red]not a colour[/red]" in capsys.readouterr().out
