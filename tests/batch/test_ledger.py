"""The folder of a batch: units come whole and once, its lock, and what is left of work that died."""

from __future__ import annotations

from pathlib import Path

import pytest

from refersat.batch.ledger import Ledger
from refersat.batch.rows import Unit
from refersat.errors import UserError

UNIT = Unit("/data/harbour.tif", ("all ships",))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger(tmp_path)
    made.begin({"model": "x"}, resume=False, overwrite=False)
    return made


def commit(ledger: Ledger, text: str) -> None:
    with ledger.workplace(UNIT) as place:
        (place / "mask.tif").write_text(text)
        ledger.commit(UNIT, place, {"error": None})


def test_who_comes_second_leaves_the_first(ledger: Ledger) -> None:
    assert not ledger.is_done(UNIT)
    with ledger.workplace(UNIT) as slow:
        (slow / "mask.tif").write_text("slow")
        commit(ledger, "quick")
        ledger.commit(UNIT, slow, {"error": None})
    assert (ledger.folder(UNIT.name) / "mask.tif").read_text() == "quick"
    assert ledger.done() == {UNIT.name}
    assert not [path for path in ledger.work.iterdir() if path.name.startswith("harbour")]


def test_a_record_is_believed_with_its_files_only(ledger: Ledger) -> None:
    commit(ledger, "whole")
    record = ledger.record(UNIT.name)
    assert record is not None
    assert (record["image"], record["phrases"], record["files"]) == (UNIT.image, ["all ships"], {"mask.tif": 5})
    (ledger.folder(UNIT.name) / "mask.tif").write_text("")
    assert ledger.record(UNIT.name) is None
    ledger.forget(UNIT.name)
    assert ledger.done() == set()


def test_attempts_are_counted_until_one_succeeds(ledger: Ledger) -> None:
    assert ledger.attempts(UNIT) == 0
    ledger.attempt(UNIT)
    ledger.attempt(UNIT)
    assert ledger.attempts(UNIT) == 2
    commit(ledger, "x")
    assert ledger.attempts(UNIT) == 0


def test_a_shared_workplace_is_for_one_at_a_time(ledger: Ledger) -> None:
    first = ledger.work / UNIT.name
    first.mkdir()
    (first / "part").touch()  # as far as a killed process got
    with ledger.workplace(UNIT, shared=True) as second:
        assert second == first
        assert (second / "part").exists()
        with ledger.workplace(UNIT, shared=True) as third:
            assert third != second
            assert not list(third.iterdir())


def test_only_one_run_has_the_folder(ledger: Ledger) -> None:
    other = Ledger(ledger.out)
    with ledger.locked():
        with pytest.raises(UserError, match="another batch is writing"), other.locked():
            pass
        assert (ledger.out / "owner.json").exists()
    with other.locked():
        pass


def test_a_folder_without_its_description_is_refused(ledger: Ledger) -> None:
    ledger.rows.mkdir()
    (ledger.out / "batch.json").unlink()
    with pytest.raises(UserError, match=r"batch\.json beside it does not"):
        ledger.begin({"model": "x"}, resume=True, overwrite=False)
    (ledger.out / "batch.json").write_text("{")
    with pytest.raises(UserError, match="cannot read"):
        ledger.begin({"model": "x"}, resume=True, overwrite=False)


def test_units_are_known_by_image_and_phrases() -> None:
    assert UNIT.name == Unit(UNIT.image, UNIT.phrases).name
    assert UNIT.name.startswith("harbour-")
    others = [Unit("/other/harbour.tif", UNIT.phrases), Unit(UNIT.image, ("all", "ships")), Unit(UNIT.image, ("a",))]
    assert len({unit.name for unit in [UNIT, *others]}) == 4
