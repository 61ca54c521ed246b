from __future__ import annotations

import json

import numpy as np
import pytest

from refersat.data.coco_expressions import read_coco_expressions
from refersat.errors import UserError
from tests.data.factories.coco import SIZE, instances, make_coco
from tests.data.factories.pictures import rectangle, save_picture
from tests.data.factories.refer import make_nwpu_refer, make_rrsisd

FIRST, SECOND = rectangle(*SIZE, 2, 3, 10, 8), rectangle(*SIZE, 20, 10, 30, 18)


def changed(change) -> dict:
    content = instances()
    change(content)
    return content


def test_sentences_at_annotations_and_in_a_list(tmp_path):
    make_coco(tmp_path)
    found = read_coco_expressions(tmp_path / "instances.json")
    assert (found.name, found.split, found.faults) == ("instances", "all", ())
    by_id = {s.id: s for s in found.samples}
    assert list(by_id) == ["1-0", "1-1", "2", "3", "both", "e1"]
    assert [by_id[k].phrase for k in ("1-0", "1-1", "2")] == [
        "the ship on the left",
        "the small ship",
        "the ship on the right",
    ]
    assert by_id["1-0"].image == tmp_path / "images" / "a.png"
    assert (by_id["1-0"].category, by_id["1-0"].split, by_id["1-0"].image_id) == ("ship", "train", "1")
    assert np.array_equal(by_id["1-1"].load_mask(), FIRST)
    assert np.array_equal(by_id["2"].load_mask(), SECOND)
    assert by_id["2"].boxes == ((20, 10, 30, 18),)
    both = by_id["both"]
    assert np.array_equal(both.load_mask(), FIRST | SECOND)
    assert (both.boxes, both.type) == (((2, 3, 10, 8), (20, 10, 30, 18)), "group")


def test_an_empty_list_of_annotations_is_absent(tmp_path):
    absent = read_coco_expressions(make_coco(tmp_path)).samples[-1]
    assert (absent.phrase, absent.absent, absent.load_mask, absent.boxes) == ("the airplane", True, None, ())
    assert absent.split == "val"  # of its image


def test_an_annotation_without_outline_has_its_box_only(tmp_path):
    """Width and height, as the format has it."""
    tank = read_coco_expressions(make_coco(tmp_path)).samples[3]
    assert (tank.load_mask, tank.absent, tank.boxes) == (None, False, ((5, 6, 15, 18),))
    assert tank.category == "storage tank"


def test_splits_in_one_file(tmp_path):
    make_coco(tmp_path)
    assert [s.id for s in read_coco_expressions(tmp_path, split="val").samples] == ["3", "e1"]
    with pytest.raises(UserError, match="has no split 'test'; it has train, val"):
        read_coco_expressions(tmp_path, split="test")
    make_coco(tmp_path, changed(lambda c: c["annotations"][1].update(split="test")))
    assert [s.id for s in read_coco_expressions(tmp_path, split="test").samples] == ["2"]


@pytest.mark.parametrize("name", ["{}.json", "annotations/instances_{}.json", "annotations/instances_{}2017.json"])
def test_a_file_for_each_split(tmp_path, name):
    content = changed(lambda c: [image.pop("split") for image in c["images"]])
    for split in ("train", "val"):
        make_coco(tmp_path, content, name=name.format(split))
    found = read_coco_expressions(tmp_path, split="val")
    assert {s.split for s in found.samples} == {"val"}
    assert len(found.samples) == 6
    everything = read_coco_expressions(tmp_path).samples
    assert [s.split for s in everything] == ["train"] * 6 + ["val"] * 6
    assert len({s.id for s in everything}) == 12
    with pytest.raises(UserError, match="nor a file for the split 'test'"):
        read_coco_expressions(tmp_path, split="test")


def test_any_split_is_everything_where_nothing_has_one(tmp_path):
    make_coco(tmp_path, changed(lambda c: [image.pop("split") for image in c["images"]]), name="mine.json")
    assert len(read_coco_expressions(tmp_path / "mine.json", split="val").samples) == 6


@pytest.mark.parametrize("folder", ["images/val", "val", "JPEGImages", "."])
def test_images_are_found_in_the_usual_folders(tmp_path, folder):
    content = instances()
    (tmp_path / "val.json").write_text(json.dumps(content))
    for image in content["images"]:
        save_picture(tmp_path / folder / image["file_name"], *SIZE)
    found = read_coco_expressions(tmp_path, split="val", require_files=False).samples
    assert found[0].image == tmp_path / folder / "b.png"


@pytest.mark.parametrize(
    "sentences",
    [
        {"sentences": [{"raw": "The Ship", "sent": "the ship"}]},
        {"expressions": ["The Ship"]},
        {"captions": ["The Ship"]},
        {"caption": "The Ship"},
        {"expression": "The Ship"},
    ],
)
def test_other_names_of_sentences(tmp_path, sentences):
    content = instances()
    content["annotations"] = [{**content["annotations"][3], **sentences}]
    del content["expressions"]
    (sample,) = read_coco_expressions(make_coco(tmp_path, content)).samples
    assert sample.phrase == "The Ship"


def test_a_folder_in_the_layout_of_refcoco(tmp_path):
    assert len(read_coco_expressions(make_nwpu_refer(tmp_path / "a")).samples) == 6
    assert len(read_coco_expressions(make_rrsisd(tmp_path / "b") / "rrsisd").samples) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["expressions"][0].update(annotation_ids=[1, 99]), "expression 0 points to annotation 99"),
        (
            lambda c: c["expressions"][0].update(annotation_ids=[1, 3]),
            "expression 0 points to an annotation of image 2",
        ),
        (lambda c: c["expressions"][0].pop("annotation_ids"), "expression 0 must be an object with image_id"),
        (lambda c: c["expressions"][0].update(sentence=""), "expression 0: the phrase is empty"),
        (lambda c: c["expressions"].__setitem__(0, "both ships"), "expression 0 must be an object"),
        (lambda c: c["annotations"][0].update(sentences=["the ship", " ", "it"]), "annotation 1: the phrase is empty"),
        (lambda c: c["annotations"][2].update(bbox=["x", 0, 1, 1]), "the outline of annotation 3 cannot be read"),
        (lambda c: c["annotations"][2].update(image_id=9), "annotation 3 is about image 9, whose file"),
    ],
)
def test_what_is_malformed_is_explained_or_left_out(tmp_path, change, message):
    make_coco(tmp_path, changed(change))
    with pytest.raises(UserError, match=message):
        read_coco_expressions(tmp_path)
    found = read_coco_expressions(tmp_path, require_files=False)
    assert len(found.faults) == 1
    assert len(found.samples) in (5, 6)


def test_what_is_missing_is_explained(tmp_path):
    with pytest.raises(UserError, match="no such file or folder; give the instances file"):
        read_coco_expressions(tmp_path / "nowhere.json")
    with pytest.raises(UserError, match=r"holds no instances\.json or annotations\.json, nor a file"):
        read_coco_expressions(tmp_path)
    content = instances()
    del content["expressions"]
    for annotation in content["annotations"]:
        annotation.pop("sentences", None)
    make_coco(tmp_path, content)
    with pytest.raises(UserError, match=r"holds no expressions: .*refersat data generate coco:\S+instances\.json"):
        read_coco_expressions(tmp_path)
    make_coco(tmp_path, {**instances(), "expressions": 3})
    with pytest.raises(UserError, match='"expressions" must be a list'):
        read_coco_expressions(tmp_path)
    make_coco(tmp_path)
    (tmp_path / "images" / "b.png").unlink()
    with pytest.raises(UserError, match=r"missing: \S+images/b\.png; complete"):
        read_coco_expressions(tmp_path)
