"""Cards tell where a model comes from; names that cannot be run say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from refersat.errors import UserError
from refersat.models import zoo
from refersat.models.zoo import HubSource, ModelCard


def test_the_names_that_can_be_run() -> None:
    assert zoo.names() == ["built-in", "rs2sam2-rrsisd", "rs2sam2-refsegrs", "evf-sam2"]
    assert all(zoo.is_name(name) for name in zoo.names())


@pytest.mark.parametrize("name", ["built-in-pslg", "pslg-sam", "grounded-sam2", "sam3"])
def test_planned_models_say_so(name: str) -> None:
    assert zoo.is_name(name)
    with pytest.raises(UserError, match="planned but not supported in this version; there are: built-in"):
        zoo.card(name)


def test_unknown_names_list_the_known() -> None:
    assert not zoo.is_name("rs2sam")
    with pytest.raises(UserError, match="no model is called rs2sam; there are: built-in, rs2sam2-rrsisd"):
        zoo.card("rs2sam")


@pytest.mark.parametrize(
    ("name", "repository", "folder"),
    [
        ("rs2sam2-rrsisd", "ReeF2025/RS2-SAM2", "rrsisd"),
        ("rs2sam2-refsegrs", "ReeF2025/RS2-SAM2", "refseg"),
        ("evf-sam2", "YxZhang/evf-sam2", ""),
    ],
)
def test_fetched_models_have_a_source_and_no_invented_numbers(name: str, repository: str, folder: str) -> None:
    card = zoo.card(name)
    assert card.source == HubSource(repository=repository, folder=folder)
    assert not card.measured
    assert not card.sha256
    assert any("mask's own confidence" in note for note in card.notes)
    assert card.summary
    assert card.data


def test_licences_are_not_invented() -> None:
    assert zoo.card("rs2sam2-rrsisd").licence == zoo.card("rs2sam2-refsegrs").licence == "none stated"
    assert zoo.card("evf-sam2").licence == ""


def test_cards_survive_their_file(tmp_path: Path) -> None:
    card = zoo.card("rs2sam2-refsegrs")
    card.save(tmp_path)
    assert ModelCard.read(tmp_path) == card
    content = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    (tmp_path / "card.json").write_text(json.dumps(content | {"of_a_later_version": 1}), encoding="utf-8")
    assert ModelCard.read(tmp_path) == card


def test_no_card_is_none(tmp_path: Path) -> None:
    assert ModelCard.read(tmp_path) is None


@pytest.mark.parametrize(
    "content", ["[]", "{", "{}", '{"name": "a", "source": {"colour": 1}}', '{"name": "a", "notes": 3}']
)
def test_other_files_are_no_cards(tmp_path: Path, content: str) -> None:
    (tmp_path / "card.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match="is not a model card"):
        ModelCard.read(tmp_path)
