"""The writer of triplets: what it writes, that it repeats itself, and that it leaves nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from refersat.cli.data import app
from refersat.data.triplets import read_triplets
from refersat.errors import UserError


def rectangle(x0: int, y0: int, x1: int, y1: int) -> list[list[int]]:
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


BOXES = {"ship": [(10, 10, 30, 20), (100, 80, 150, 110)], "storage_tank": [(90, 10, 110, 30)], "vehicle": []}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """An instances file and a folder of images, two of the same kind, one of them in a subfolder."""
    names = list(BOXES)
    images = [
        {"id": k, "file_name": name, "width": 160, "height": 120} for k, name in enumerate(("a.png", "sub/b.png"))
    ]
    annotations = [
        {"id": 1, "image_id": image["id"], "category_id": names.index(name), "segmentation": rectangle(*box)}
        for image in images
        for name, boxes in BOXES.items()
        for box in boxes
    ]
    for image in images:
        path = tmp_path / "images" / str(image["file_name"])
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (160, 120)).save(path)
    categories = [{"id": k, "name": name} for k, name in enumerate(names)]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def run(source: Path, *options: str, out: str = "out") -> Result:
    folder = source.parent
    words = ["generate", f"coco:{source}", "--images", str(folder / "images"), "--out", str(folder / out), *options]
    return CliRunner().invoke(app, words)


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_writes_triplets_that_the_reader_takes(source: Path) -> None:
    result = run(source, "--per-image", "20", "--never-absent", "vehicle")
    assert result.exit_code == 0, result.output
    out = source.parent / "out"
    refs: list[dict[str, Any]] = json.loads((out / "refs.json").read_text())
    samples = read_triplets(out).samples
    assert len(samples) == len(refs) > 20
    assert len({sample.id for sample in samples}) == len(samples)
    whole = {name: [np.s_[y0:y1, x0:x1] for x0, y0, x1, y1 in boxes] for name, boxes in BOXES.items()}
    for ref, sample in zip(refs, samples, strict=True):
        assert sample.image.resolve().parent.parent in (source.parent, source.parent / "images")
        assert (sample.load_mask is None) == str(sample.type).startswith("absent")
        assert ref["wording"] == "train"
        if sample.load_mask is None:
            assert sample.category != "vehicle"
            continue
        mask = sample.load_mask()
        assert mask.shape == (120, 160)
        patches = [patch for patch in whole[str(sample.category).replace(" ", "_")] if mask[patch].all()]
        assert patches
        for patch in patches:
            mask[patch] = False
        assert not mask.any()
        if sample.type in ("unique", "group"):
            assert len(patches) == len(BOXES[str(sample.category).replace(" ", "_")])
    shares = [sum(ref["mask"] is None for ref in refs) / len(refs)]
    assert shares[0] == pytest.approx(0.25, abs=0.08)
    with Image.open(out / next(ref["mask"] for ref in refs if ref["mask"])) as mask_file:
        assert mask_file.mode == "L"
        assert set(np.unique(np.asarray(mask_file))) == {0, 255}


def test_the_same_seed_writes_the_same_files(source: Path) -> None:
    for out, seed in (("one", "3"), ("two", "3"), ("three", "4")):
        assert run(source, "--seed", seed, out=out).exit_code == 0
    one, two, three = (content(source.parent / name) for name in ("one", "two", "three"))
    assert one == two
    assert one["refs.json"] != three["refs.json"]


def test_held_out_wordings_are_marked(source: Path) -> None:
    assert run(source, "--style", "heldout").exit_code == 0
    refs = json.loads((source.parent / "out" / "refs.json").read_text())
    assert sum(ref["wording"] == "heldout" for ref in refs) > 0.9 * len(refs)


def test_shares_of_absent_phrases(source: Path) -> None:
    for share, expected in (("0", {False}), ("1", {True})):
        assert run(source, "--absent", share, "--overwrite").exit_code == 0
        refs = json.loads((source.parent / "out" / "refs.json").read_text())
        assert {ref["mask"] is None for ref in refs} == expected


def test_copies_images_when_asked(source: Path) -> None:
    assert run(source, "--copy-images").exit_code == 0
    out = source.parent / "out"
    refs = json.loads((out / "refs.json").read_text())
    assert {ref["image"] for ref in refs} == {"images/a.png", "images/sub/b.png"}
    assert (out / "images/sub/b.png").read_bytes() == (source.parent / "images/sub/b.png").read_bytes()


def test_never_replaces_silently(source: Path) -> None:
    assert run(source, "--seed", "1").exit_code == 0
    out = source.parent / "out"
    before = content(out)
    result = run(source, "--seed", "2")
    assert isinstance(result.exception, UserError)
    assert "--overwrite" in str(result.exception)
    assert content(out) == before
    (out / "left-over.txt").write_text("")
    assert run(source, "--seed", "2", "--overwrite").exit_code == 0
    assert content(out) != before
    assert not (out / "left-over.txt").exists()
    assert sorted(p.name for p in source.parent.iterdir()) == ["images", "instances.json", "out"]


def test_never_replaces_a_folder_of_something_else(source: Path) -> None:
    result = run(source, "--overwrite", out="images")
    assert isinstance(result.exception, UserError)
    assert (source.parent / "images" / "a.png").is_file()


def test_leaves_nothing_half_written(source: Path) -> None:
    (source.parent / "images" / "sub" / "b.png").unlink()
    result = run(source)
    assert isinstance(result.exception, UserError)
    assert "b.png: no such image" in str(result.exception)
    assert result.output == ""  # no bar was begun, though the first image is there
    assert sorted(p.name for p in source.parent.iterdir()) == ["images", "instances.json"]


def test_mistakes_are_explained(source: Path) -> None:
    for options, message in (
        (("--per-image", "0"), "at least 1"),
        (("--absent", "1.5"), "between 0 and 1"),
        (("--seed", "-1"), "must not be negative"),
        (("--never-absent", "car"), "no such category: car; there are ship, storage tank, vehicle"),
    ):
        result = run(source, *options)
        assert isinstance(result.exception, UserError)
        assert message in str(result.exception)
        assert result.output == ""
    for kind in ("rrsisd:x", "coco:", "x.json"):
        result = CliRunner().invoke(app, ["generate", kind, "--images", ".", "--out", "out"])
        assert isinstance(result.exception, UserError)
    Image.new("RGB", (100, 100)).save(source.parent / "images" / "a.png")
    assert "is 100 x 100, but its outlines are for 160 x 120" in str(run(source).exception)
    (source.parent / "images" / "a.png").write_text("no image")
    assert "not an image" in str(run(source).exception)
    assert not (source.parent / "out").exists()
