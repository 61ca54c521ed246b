from __future__ import annotations

import pytest

from refersat.data.sources import READERS, read_samples
from refersat.errors import UserError
from tests.data.factories.coco import make_coco
from tests.data.factories.dior_rsvg import make_dior_rsvg
from tests.data.factories.phrase_files import make_refsegrs, make_risbench
from tests.data.factories.refer import make_nwpu_refer, make_rrsisd


@pytest.mark.parametrize(
    ("kind", "make", "name", "count"),
    [
        ("refsegrs", make_refsegrs, "RefSegRS", 1),
        ("phrases", make_refsegrs, "set", 1),
        ("risbench", make_risbench, "RISBench", 2),
        ("rrsisd", make_rrsisd, "RRSIS-D", 1),
        ("rrsis-hr", make_rrsisd, "RRSIS-HR", 1),
        ("remotesam-270k", make_rrsisd, "RemoteSAM-270K", 1),
        ("refer", make_rrsisd, "rrsisd", 1),
        ("nwpu-refer", make_nwpu_refer, "NWPU-Refer", 1),
        ("dior-rsvg", make_dior_rsvg, "DIOR-RSVG", 1),
        ("coco", make_coco, "set", 2),
    ],
)
def test_each_kind_is_read(tmp_path, kind, make, name, count):
    make(tmp_path / "set")
    found = read_samples(f"{kind}:{tmp_path / 'set'}", split="val")
    assert (found.name, found.split, len(found.samples)) == (name, "val", count)
    assert all(sample.split == "val" for sample in found.samples)
    assert all(sample.image.is_file() for sample in found.samples)
    everything = read_samples(f"{kind}:{tmp_path / 'set'}", split="all", require_files=False)
    assert len(everything.samples) > count
    assert len({sample.id for sample in everything.samples}) == len(everything.samples)
    assert everything.fingerprint


def test_the_home_folder_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    make_rrsisd(tmp_path / "data")
    assert len(read_samples("rrsisd:~/data", split="all").samples) == 6


@pytest.mark.parametrize("source", ["rrsisd", "rrsisd:", ":x", "data/rrsisd"])
def test_a_source_is_a_kind_and_a_path(source):
    with pytest.raises(UserError, match=r"KIND:PATH|unknown kind"):
        read_samples(source, split="val")


def test_an_unknown_kind_is_explained():
    with pytest.raises(UserError, match=f"unknown kind of data 'rrsis'; there are {', '.join(READERS)}"):
        read_samples("rrsis:x", split="val")
