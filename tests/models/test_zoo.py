"""Cards tell where a model comes from; names that cannot be run say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from refersat.errors import UserError
from refersat.models import zoo
from refersat.models.zoo import HubSource, ModelCard


def test_the_names_that_can_be_run() -> None:
    fetched = ["rs2sam2-rrsisd", "rs2sam2-refsegrs", "evf-sam2", "grounded-sam2", "sam3", "pslg-sam"]
    assert zoo.names() == ["built-in", "built-in-pslg", *fetched]
    assert all(zoo.is_name(name) for name in zoo.names())


def test_unknown_names_list_the_known() -> None:
    assert not zoo.is_name("rs2sam")
    with pytest.raises(
        UserError, match="no model is called rs2sam; there are: built-in, built-in-pslg, rs2sam2-rrsisd"
    ):
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
    assert zoo.card("grounded-sam2").licence == "Apache-2.0 (both)"
    assert zoo.card("sam3").licence == "SAM License (Meta's own)"


@pytest.mark.parametrize(
    ("name", "repositories"),
    [
        ("sam3", {"": "facebook/sam3"}),
        (
            "grounded-sam2",
            {"grounding-dino": "IDEA-Research/grounding-dino-base", "sam2": "facebook/sam2.1-hiera-large"},
        ),
    ],
)
def test_peers_say_where_their_parts_come_from_and_that_nobody_measured_them(
    name: str, repositories: dict[str, str]
) -> None:
    card = zoo.card(name)
    assert {part: source.repository for part, source in card.parts.items()} == repositories
    assert card.source is None
    assert not card.measured
    assert not card.published
    assert any("random weights" in note for note in card.notes)


def test_pslg_sam_says_what_is_published_and_what_is_not() -> None:
    card = zoo.card("pslg-sam")
    assert card.parts == {"sam": HubSource(repository="facebook/sam2.1-hiera-large")}
    assert not card.measured
    assert any("nobody published weights of the grounder" in note for note in card.notes)
    assert any("the paper's own system" in note.replace("of the", "the") for note in card.notes)


@pytest.mark.parametrize("name", ["rs2sam2-refsegrs", "grounded-sam2", "pslg-sam"])
def test_cards_survive_their_file(tmp_path: Path, name: str) -> None:
    card = zoo.card(name)
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
