"""Catalogues of every kind become the same rows; what is wrong with one row stays with it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.batch.addresses import joined, read, stem_of
from refersat.batch.catalogue import read_catalogue
from refersat.batch.rows import Catalogue
from refersat.batch.tabular import Columns
from refersat.errors import UserError
from tests.batch import stand_in

names = st.text(st.characters(codec="utf-8", exclude_categories=["C"], exclude_characters="/:\\"), min_size=1).filter(
    lambda name: name.strip() == name and name not in (".", "..")
)
phrases = (
    st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1)
    .map(lambda text: " ".join(text.split()))
    .filter(bool)
)
questions = st.lists(st.tuples(names, phrases), min_size=1, max_size=8)


def as_csv(path: Path, rows: list[tuple[str, str]]) -> Path:
    path = path.with_suffix(".csv")
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("image", "phrase"), *rows])
    return path


def as_json_lines(path: Path, rows: list[tuple[str, str]]) -> Path:
    path = path.with_suffix(".jsonl")
    lines = [json.dumps({"image": image, "phrase": phrase}, ensure_ascii=False) + "\n" for image, phrase in rows]
    path.write_bytes("".join(lines).encode())
    return path


def as_parquet(path: Path, rows: list[tuple[str, str]]) -> Path:
    path = path.with_suffix(".parquet")
    columns = {"phrase": [phrase for _, phrase in rows], "image": [image for image, _ in rows]}
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def asked(catalogue: Catalogue) -> list[tuple[int, str, str]]:
    assert not catalogue.faults
    return [(row.number, row.image, row.phrase) for row in catalogue.rows]


@pytest.mark.parametrize("write", [as_csv, as_json_lines, as_parquet])
def test_tables_come_back_as_they_were_written(write: Any, tmp_path: Path) -> None:
    @settings(max_examples=40, deadline=None)
    @given(questions)
    def check(rows: list[tuple[str, str]]) -> None:
        found = asked(read_catalogue(str(write(tmp_path / "table", rows))))
        assert found == [(k, str(tmp_path / image), phrase) for k, (image, phrase) in enumerate(rows, start=1)]

    check()


@given(questions)
@settings(max_examples=50, deadline=None)
def test_units_hold_every_row_once(rows: list[tuple[str, str]]) -> None:
    from refersat.batch.rows import ask_each

    catalogue = Catalogue("x", "table", tuple(ask_each([(image, phrase, None) for image, phrase in rows], ())))
    units = catalogue.asked()
    assert sorted(row.number for unit in units for row in unit.rows) == list(range(1, len(rows) + 1))
    assert len({unit.unit.name for unit in units}) == len(units) == len({image for image, _ in rows})
    for unit in units:
        assert list(dict.fromkeys(row.phrase for row in unit.rows)) == list(unit.unit.phrases)
        assert {row.image for row in unit.rows} == {unit.unit.image}


@given(names)
@settings(max_examples=100, deadline=None)
def test_stems_are_safe_in_any_file_system(name: str) -> None:
    stem = stem_of(f"/folder/{name}.tif")
    assert stem
    assert len(stem.encode()) <= 80
    assert not set(stem) & set('/\\:*?"<>|\0')
    assert not stem.startswith(".")


def test_a_folder_and_a_pattern(tmp_path: Path) -> None:
    for name in ("b.tif", "a.PNG", "deep/c.jpg", ".hidden/d.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    everything = read_catalogue(str(tmp_path), ["one", "two"])
    assert [Path(row.image).name for row in everything.rows] == ["a.PNG"] * 2 + ["b.tif"] * 2 + ["c.jpg"] * 2
    assert [row.phrase for row in everything.rows] == ["one", "two"] * 3
    assert [Path(row.image).name for row in read_catalogue(f"{tmp_path}/*.tif", ["x"]).rows] == ["b.tif"]
    deep = read_catalogue(f"{tmp_path}/**/*.*g", ["x"])
    assert [Path(row.image).name for row in deep.rows] == ["c.jpg"]
    assert len(read_catalogue(str(tmp_path / "b.tif"), ["x"]).rows) == 1


def test_a_catalogue_by_fsspec() -> None:
    system = fsspec.filesystem("memory")
    system.pipe("/shots/a.tif", b"x")
    system.pipe("/shots/deep/b.tif", b"x")
    system.pipe("/shots/list.csv", b"file,text\na.tif,the ship\n../other/c.tif,all ships\n")
    assert [row.image for row in read_catalogue("memory://shots", ["x"]).rows] == [
        "memory:///shots/a.tif",
        "memory:///shots/deep/b.tif",
    ]
    assert [row.image for row in read_catalogue("memory://shots/*.tif", ["x"]).rows] == ["memory:///shots/a.tif"]
    table = read_catalogue("memory://shots/list.csv")
    assert [(row.image, row.phrase) for row in table.rows] == [
        ("memory://shots/a.tif", "the ship"),
        ("memory://other/c.tif", "all ships"),
    ]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Serves the folder `web`, from a process of its own: GDAL waits for it without letting other threads run."""
    (tmp_path / "web").mkdir()
    words = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", tmp_path / "web"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as web:
        assert web.stdout is not None
        port = web.stdout.readline().partition(" port ")[2].split()[0]
        yield f"http://127.0.0.1:{port}"
        web.kill()


def test_images_are_the_same_wherever_they_lie(tmp_path: Path, server: str) -> None:
    import zipfile

    stand_in.write_images(tmp_path / "web", 1)
    image = tmp_path / "web" / "image-000.tif"
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(image, "image-000.tif")
    fsspec.filesystem("memory").pipe("/image-000.tif", image.read_bytes())
    expected = read(str(image), None, tmp_path)
    addresses = (
        f"{server}/image-000.tif",
        f"zip://{tmp_path}/all.zip!image-000.tif",
        f"/vsizip/{tmp_path}/all.zip/image-000.tif",
        "memory://image-000.tif",
    )
    for address in addresses:
        found = read(address, None, tmp_path)
        np.testing.assert_array_equal(found.rgb, expected.rgb)
        assert (found.crs_wkt, found.transform) == (expected.crs_wkt, expected.transform)
        assert stem_of(address) == "image-000"
    assert not (tmp_path / "image-000.tif").exists()  # the copy is gone
    with pytest.raises(UserError, match=r"cannot read http.*missing"):
        read(f"{server}/missing.tif", None, tmp_path)
    with pytest.raises(UserError, match="cannot read memory"):
        read("memory://missing.tif", None, tmp_path)


def item(name: str, href: str, **more: Any) -> dict[str, Any]:
    return {
        "type": "Feature",
        "id": name,
        "assets": {"thumbnail": {"href": "t.png", "roles": ["thumbnail"]}, "visual": {"href": href}, **more},
    }


def test_a_stac_collection_with_its_items(tmp_path: Path) -> None:
    (tmp_path / "items" / "a").mkdir(parents=True)
    links = [{"rel": "self", "href": "collection.json"}]
    links += [{"rel": "item", "href": f"./items/{name}/{name}.json"} for name in ("a", "gone")]
    links += [{"rel": "child", "href": "more.json"}]
    (tmp_path / "collection.json").write_text(json.dumps({"type": "Collection", "links": links}))
    (tmp_path / "items/a/a.json").write_text(json.dumps(item("a", "../a.tif", links=None)))
    several = {"type": "FeatureCollection", "features": [item("b", "https://x.org/b.tif"), item("c", "c.txt")]}
    (tmp_path / "more.json").write_text(json.dumps(several))
    rows = read_catalogue(str(tmp_path / "collection.json"), ["all ships"]).rows
    good = [row.image for row in rows if row.fault is None]
    assert good == [str(tmp_path / "items/a.tif"), "https://x.org/b.tif"]
    faults = [row.fault for row in rows if row.fault is not None]
    assert len(faults) == 2
    assert "gone.json: No such file" in str(faults[0])
    assert "c has 0 images" in str(faults[1])


def test_a_raster_goes_before_a_picture_of_it(tmp_path: Path) -> None:
    """Only the raster knows where on the ground it is."""
    (tmp_path / "a.json").write_text(json.dumps(item("a", "a.jpg", data={"href": "a.tif", "roles": ["data"]})))
    (row,) = read_catalogue(str(tmp_path / "a.json"), ["all ships"]).rows
    assert (row.image, row.fault) == (str(tmp_path / "a.tif"), None)


def test_a_stac_item_whose_picture_is_no_geotiff(tmp_path: Path) -> None:
    about = item("a", "a.jpg", preview={"href": "small.png"})
    (tmp_path / "a.json").write_text(json.dumps(about))
    (row,) = read_catalogue(str(tmp_path / "a.json"), ["all ships"]).rows
    assert (row.image, row.fault) == (str(tmp_path / "a.jpg"), None)
    del about["assets"]["visual"]
    (tmp_path / "a.json").write_text(json.dumps(about))
    (row,) = read_catalogue(str(tmp_path / "a.json"), ["all ships"]).rows
    assert row.fault == "a has 0 images: choose with --asset, from preview, thumbnail"


def test_a_stac_geoparquet_table(tmp_path: Path) -> None:
    assets = [item(name, f"{name}.tif", extra=None)["assets"] for name in "ab"]
    pyarrow.parquet.write_table(pyarrow.table({"id": ["a", "b"], "assets": assets}), tmp_path / "items.parquet")
    rows = read_catalogue(str(tmp_path / "items.parquet"), ["all ships"]).rows
    assert [(row.image, row.fault) for row in rows] == [(str(tmp_path / f"{name}.tif"), None) for name in "ab"]
    other = read_catalogue(str(tmp_path / "items.parquet"), ["x"], Columns(asset="nir")).rows
    assert "no asset 'nir'" in str(other[0].fault)


def test_a_bad_row_does_not_spoil_the_others(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("image,phrase\na.tif,the ship\n,no image\nb.tif,\nc.tif,one,two\nd.tif,all ships\n")
    rows = read_catalogue(str(table)).rows
    assert [row.fault is None for row in rows] == [True, False, False, False, True]
    assert "names no image" in str(rows[1].fault)
    assert "phrase is empty" in str(rows[2].fault)
    assert "3 values for 2 columns" in str(rows[3].fault)
    lines = tmp_path / "table.jsonl"
    lines.write_text('{"image": "a.tif", "phrase": "x"}\n{"image":\n[1]\n{"image": 3, "phrase": "x"}\n\n')
    assert [row.number for row in read_catalogue(str(lines)).faults] == [2, 3, 4]


@pytest.mark.parametrize(
    ("content", "given_phrases", "columns", "reason"),
    [
        ("a,b\nx,y\n", [], Columns(), "no column 'image': choose with --image-column, from a, b"),
        ("image,b\nx,y\n", [], Columns(), "no column 'phrase'.*or give the phrases with -t"),
        ("image,phrase\nx,y\n", ["z"], Columns(), "leave out -t, or add --phrase-column none"),
        ("image,phrase\nx,y\n", [], Columns(image="place"), "no column 'place'"),
        ("image,phrase\n", [], Columns(), "has no rows"),
        ("", [], Columns(), "from none"),
    ],
)
def test_tables_that_cannot_be_meant(
    tmp_path: Path, content: str, given_phrases: list[str], columns: Columns, reason: str
) -> None:
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(UserError, match=reason):
        read_catalogue(str(tmp_path / "table.csv"), given_phrases, columns)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "no such catalogue"),
        ("missing.csv", "no such catalogue"),
        ("empty", "names no images"),
        ("*.tif", "names no images"),
        ("other.json", "no STAC item"),
        ("broken.parquet", "no Parquet file"),
        ("latin.csv", "not in UTF-8"),
    ],
)
def test_catalogues_that_are_none(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.json").write_text('{"a": 1}')
    (tmp_path / "broken.parquet").write_text("PAR1")
    (tmp_path / "latin.csv").write_bytes("image,phrase\nä.tif,x".encode("latin-1"))
    given_phrases = [] if name.endswith((".csv", ".parquet")) else ["x"]
    with pytest.raises(UserError, match=reason):
        read_catalogue(str(tmp_path / name), given_phrases)


def test_the_user_may_choose_columns(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("place\twhat\timage\nx.tif\tthe ship\ty.tif\n")
    rows = read_catalogue(str(tmp_path / "table.tsv"), columns=Columns("place", "what")).rows
    assert [(Path(row.image).name, row.phrase) for row in rows] == [("x.tif", "the ship")]
    rows = read_catalogue(str(tmp_path / "table.tsv"), ["all ships"], Columns(phrase="none")).rows
    assert [(Path(row.image).name, row.phrase) for row in rows] == [("y.tif", "all ships")]


def test_references_are_relative_to_the_catalogue() -> None:
    assert joined("/data/lists", "../shots/a.tif") == "/data/shots/a.tif"
    assert joined("/data", "file:///else/a.tif") == "/else/a.tif"
    assert joined("s3://bucket/lists", "../shots/./a.tif") == "s3://bucket/shots/a.tif"
    assert joined("s3://bucket", "https://x.org/a.tif") == "https://x.org/a.tif"
