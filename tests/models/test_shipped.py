"""What lies in the package runs: networks that see with the built-in model's eye fit the one that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

import refersat
from refersat.models import zoo
from refersat.models.store import damaged_files

SHIPS = Path(__file__).parents[2] / "examples" / "ships.jpg"


@pytest.mark.parametrize("name", [zoo.BUILT_IN, zoo.BUILT_IN_PSLG])
def test_a_shipped_model_is_whole_and_answers(name: str) -> None:
    assert damaged_files(zoo.folder_of(name)) == []
    model = refersat.load(name, device="cpu", dtype="float32")
    there, absent = model.batch([SHIPS] * 2, ["all ships", "the airplane"])
    assert there.present
    assert 0 < there.mask.mean() < 0.5
    assert not absent.present
