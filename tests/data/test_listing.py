from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from refersat.data.listing import Faults, Listing, missing_files, of_split, unique
from refersat.errors import UserError


def test_strict_readers_stop_and_others_keep_the_fault():
    with pytest.raises(UserError, match="it is wrong"):
        Faults(strict=True).add("it is wrong")
    faults = Faults(strict=False)
    faults.add("it is wrong")
    assert faults.phrase(" the  ship ", "line 1") == "the  ship"
    assert faults.phrase(" ", "line 2") is None
    assert faults.phrase(None, "line 3") is None
    assert faults.found == ["it is wrong", faults.found[1], "line 3: a phrase is a text, not NoneType"]
    assert faults.found[1].startswith("line 2: the phrase is empty")


def test_the_fingerprint_is_of_all_that_was_read(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b.json").write_bytes(b"[2]")
    listing = Listing()
    assert listing.read(tmp_path / "a", "hint") == b"one"
    assert listing.read_json(tmp_path / "b.json", "hint") == [2]
    assert listing.fingerprint() == hashlib.sha256(b"one[2]").hexdigest()
    with pytest.raises(UserError, match=r"cannot read .*missing: No such file.*; look elsewhere"):
        listing.read(tmp_path / "missing", "look elsewhere")
    with pytest.raises(UserError, match="a is not valid JSON"):
        listing.read_json(tmp_path / "a", "hint")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match=r"deep\.json is not valid JSON"):
        listing.read_json(tmp_path / "deep.json", "hint")


def test_items_of_a_split():
    items, splits = [1, 2, 3], ["train", "val", None]
    assert of_split("val", items, splits, Path("x")) == [2]
    assert of_split("all", items, splits, Path("x")) == items
    assert of_split("test", items, [None] * 3, Path("x")) == items
    with pytest.raises(UserError, match=r"x has no split 'test'; it has train, val \('all' takes everything\)"):
        of_split("test", items, splits, Path("x"))


def test_ids_are_made_unique():
    assert unique(["a", "b", "a", "a"]) == ["a", "b", "a#2", "a#3"]


@pytest.mark.parametrize("count", [3, 100])
def test_missing_files(tmp_path, count):
    """Few are looked up one by one, many by listing their folder."""
    paths = [tmp_path / f"{k:03d}.png" for k in range(count)]
    for path in paths[2:]:
        path.touch()
    assert missing_files([*paths, *paths]) == paths[:2]
    elsewhere = [tmp_path / "none" / f"{k:03d}.png" for k in range(count)]
    assert missing_files(elsewhere) == elsewhere
