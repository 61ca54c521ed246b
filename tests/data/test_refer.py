"""RRSIS-D and its family, with every trap of the published files."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from refersat.data.refer import read_refer
from refersat.errors import UserError
from tests.data.factories.pictures import rectangle, save_picture
from tests.data.factories.refer import (
    RRSISD,
    SIZE,
    Reference,
    box,
    make_nwpu_refer,
    make_rrsisd,
    polygon,
    refer_item,
    write_refer,
)
from tests.data.factories.rle import encode

FIELD, LEFT, SMALL, LONG = (RRSISD[k] for k in (1, 0, 3, 5))


def by_phrase(found):
    return {sample.phrase: sample for sample in found.samples}


def test_rrsisd(tmp_path):
    make_rrsisd(tmp_path)
    found = read_refer(tmp_path, split="train", name="RRSIS-D")
    assert (found.name, found.split, found.faults) == ("RRSIS-D", "train", ())
    assert [s.id for s in found.samples] == ["0", "1", "2"]
    left, field, _ = found.samples
    assert (left.phrase, left.split, left.image_id) == ("The airplane on the left", "train", "11")
    assert left.image == tmp_path / "images" / "rrsisd" / "JPEGImages" / "00011.jpg"
    assert np.array_equal(left.load_mask(), LEFT.parts[0])
    assert (left.category, field.category) == ("airplane", "ground track field")  # from "categories_id"
    contents = [(tmp_path / "rrsisd" / name).read_bytes() for name in ("refs(unc).p", "instances.json")]
    assert found.fingerprint == hashlib.sha256(b"".join(contents)).hexdigest()
    assert [len(read_refer(tmp_path, split=split).samples) for split in ("val", "test", "all")] == [1, 2, 6]


def test_several_parts_are_one_object(tmp_path):
    field = read_refer(make_rrsisd(tmp_path)).samples[1]
    assert np.array_equal(field.load_mask(), FIELD.parts[0] | FIELD.parts[1])
    assert field.boxes == ((0, 0, 20, 20),)


def test_boxes_and_areas_are_those_of_the_mask(tmp_path):
    """The file says x1, y1, x2, y2 where the format has a width and a height; neither is believed."""
    make_rrsisd(tmp_path)
    (small,) = read_refer(tmp_path, split="val").samples
    (annotation,) = [a for a in read_json(tmp_path)["annotations"] if a["image_id"] == SMALL.number]
    assert annotation["bbox"] == [30, 20, 40, 30]
    assert annotation["area"] == 100 * 233
    assert small.boxes == ((30, 20, 40, 30),)
    assert small.load_mask().sum() == 100
    edit_json(tmp_path, lambda content: content["annotations"][3].update(bbox=[1, 1, 2, 2]))
    assert read_refer(tmp_path, split="val").samples[0].boxes == small.boxes


def test_an_empty_mask_is_no_absent_target(tmp_path):
    empty, _ = read_refer(make_rrsisd(tmp_path), split="test").samples
    assert not empty.absent
    assert empty.boxes == ()
    assert empty.load_mask().shape == SIZE[::-1]
    assert not empty.load_mask().any()


def test_an_image_that_is_not_quite_as_large_as_its_mask(tmp_path):
    references = [Reference(15324, "val", "The dam", [rectangle(80, 80, 0, 0, 80, 40)], image_size=(80, 78))]
    (sample,) = read_refer(make_rrsisd(tmp_path, references)).samples
    assert sample.load_mask().shape == (78, 80)
    assert sample.load_mask.stored().shape == (80, 80)


def test_samples_can_go_to_another_process(tmp_path):
    sample = read_refer(make_rrsisd(tmp_path)).samples[0]
    assert np.array_equal(pickle.loads(pickle.dumps(sample)).load_mask(), LEFT.parts[0])


@pytest.mark.parametrize(
    "place",
    ["", "RRSIS-D", "RRSIS-D/rrsisd", "RRSIS-D/rrsisd/refs(unc).p", "RRSIS-D/images", "refer/data"],
)
def test_found_from_the_folder_above_and_from_within(tmp_path, place):
    make_rrsisd(tmp_path / ("refer/data" if place.startswith("refer") else "RRSIS-D"))
    assert len(read_refer(tmp_path / place).samples) == 6


def test_beside_other_data_sets_the_one_of_that_name_is_taken(tmp_path):
    make_rrsisd(tmp_path)
    make_rrsisd(tmp_path, RRSISD[:2], name="rrsishr")
    assert len(read_refer(tmp_path, folders=("rrsisd",)).samples) == 6
    found = read_refer(tmp_path, folders=("rrsishr", "rrsis_hr"))
    assert [s.image.parent.parent.name for s in found.samples] == ["rrsishr"] * 2
    with pytest.raises(UserError, match="holds several data sets"):
        read_refer(tmp_path)


def test_remotesam(tmp_path):
    """Other names of the file and of the folder, and ids that stand for several categories."""
    make_rrsisd(tmp_path, RRSISD[:2], name="RemoteSAM-270K", references_name="refs(unc)_RemoteSAM.p")
    root = tmp_path / "RemoteSAM-270K"
    shutil.move(tmp_path / "images" / "RemoteSAM-270K" / "JPEGImages", root / "JPEGImages")
    twice = [{"id": 7, "name": "airplane"}, {"id": 3, "name": "vehicle"}, {"id": 7, "name": "ship"}]
    edit_json(root, lambda content: content.update(categories=twice))
    left, field = read_refer(tmp_path).samples
    assert left.image == root / "JPEGImages" / "00011.jpg"
    assert (left.category, field.category) == (None, "vehicle")


def test_nwpu_refer(tmp_path):
    make_nwpu_refer(tmp_path)
    found = by_phrase(read_refer(tmp_path, split="train"))
    assert list(found) == ["the airplane on the left", "two airplanes", "the ship", "the bridge", "the field"]
    first, second = rectangle(*SIZE, 2, 3, 10, 8), rectangle(*SIZE, 20, 10, 30, 18)
    assert np.array_equal(found["the airplane on the left"].load_mask(), first)
    assert found["the airplane on the left"].image == tmp_path / "image" / "image" / "1.jpg"
    both = found["two airplanes"]
    assert np.array_equal(both.load_mask(), first | second)
    assert both.boxes == ((2, 3, 10, 8), (20, 10, 30, 18))
    assert (both.id, both.category, both.absent) == ("1", "airplane", False)
    assert found["the field"].boxes == ((30, 20, 40, 30),)  # cut at the image
    assert found["the field"].category == "ground track field"


@pytest.mark.parametrize("phrase", ["the ship", "the bridge"])
def test_no_target_is_absent(tmp_path, phrase):
    sample = by_phrase(read_refer(make_nwpu_refer(tmp_path)))[phrase]
    assert sample.absent
    assert sample.load_mask is None
    assert sample.boxes == ()


def test_equal_sentences_are_one_sample_within_an_image_and_split_only(tmp_path):
    found = [s for s in read_refer(make_nwpu_refer(tmp_path)).samples if s.phrase == "two airplanes"]
    assert [(s.split, len(s.boxes)) for s in found] == [("train", 2), ("val", 1)]


def test_equal_sentences_are_joined_where_asked_for_or_by_the_name_of_the_file(tmp_path):
    make_nwpu_refer(tmp_path)
    for old, new in (("new_refs(unc).p", "refs(unc).p"), ("new_instances.json", "instances.json")):
        (tmp_path / old).rename(tmp_path / new)
    assert len(read_refer(tmp_path, split="train").samples) == 6
    assert len(read_refer(tmp_path, split="train", merge=True).samples) == 5


@pytest.mark.parametrize(
    "fields", [{"ann_id": None}, {"ann_id": []}, {"ann_id": [-1]}, {"ann_id": [1], "no_target": True}]
)
def test_other_ways_to_say_that_there_is_no_target(tmp_path, fields):
    write_small(tmp_path, [{**refer_item(0, 1, 1, "val", ["the ship"]), **fields}])
    (sample,) = read_refer(tmp_path).samples
    assert sample.absent


def test_references_of_refcoco_and_grefcoco(tmp_path):
    """Several sentences, lists of annotations, JSON, and a file name that is the object's rather than the image's."""
    reference = {**refer_item(4, 1, [1, 2], "testA", ["the ships", "both ships"]), "file_name": "1_17.jpg"}
    write_small(tmp_path, [reference])
    first, second = read_refer(tmp_path, split="testA").samples
    assert [(s.id, s.phrase, s.image.name) for s in (first, second)] == [
        ("4-0", "the ships", "1.jpg"),
        ("4-1", "both ships", "1.jpg"),
    ]
    assert len(first.boxes) == 2
    assert first.load_mask().sum() == 40 + 80
    (tmp_path / "refs(unc).p").unlink()
    (tmp_path / "grefs(unc).json").write_text(json.dumps([reference]))
    assert len(read_refer(tmp_path).samples) == 2


def test_a_sentence_is_taken_as_published(tmp_path):
    reference = refer_item(0, 1, 1, "val", ["The Ship, on the left"])
    write_small(tmp_path, [reference])
    assert read_refer(tmp_path).samples[0].phrase == "The Ship, on the left"
    del reference["sentences"][0]["raw"]
    write_small(tmp_path, [reference])
    assert read_refer(tmp_path).samples[0].phrase == "the ship, on the left"


def test_a_translation_is_left_out_unless_it_is_all_there_is(tmp_path):
    chinese = "\u8239"
    references = [refer_item(0, 1, 1, "val", [chinese, "the ship"]), refer_item(1, 1, 2, "val", [chinese])]
    write_small(tmp_path, references)
    assert [s.phrase for s in read_refer(tmp_path).samples] == ["the ship", chinese]


def test_ids_are_compared_as_text_and_made_unique(tmp_path):
    references = [refer_item(0, "1", "1", "val", ["the ship"]), refer_item(0, 1, 2, "val", ["the other ship"])]
    write_small(tmp_path, references)
    assert [(s.id, s.image_id, len(s.boxes)) for s in read_refer(tmp_path).samples] == [("0", "1", 1), ("0#2", "1", 1)]


def test_a_hostile_pickle_is_refused_and_runs_nothing(tmp_path):
    class Runs:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'mark'}",)

    make_rrsisd(tmp_path)
    (tmp_path / "rrsisd" / "refs(unc).p").write_bytes(pickle.dumps([Runs()]))
    for require_files in (True, False):
        with pytest.raises(UserError, match=r"refs\(unc\)\.p is not read: .*posix\.system"):
            read_refer(tmp_path, require_files=require_files)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ann_id": 99}, r"reference 0 points to annotation 99, which \S+instances\.json lacks"),
        ({"ann_id": 3}, r"instances\.json: the outline of annotation 3 cannot be read \(.*does not fill"),
        ({"ann_id": 4}, r"points to annotation 4, but \S+instances\.json has several of that id"),
        ({"sentences": []}, "reference 0 has no sentence"),
        ({"sentences": None}, "reference 0 has no sentence"),
        ({"sentences": [{"raw": "  "}]}, "reference 0: the phrase is empty"),
        ({"sentences": [{"raw": 5}]}, "reference 0: a phrase is a text"),
        ({"image_id": 99, "file_name": None}, r"reference 0 is about image 99, whose file \S+instances\.json does not"),
        ({"ann_id": ...}, "reference 0 lacks ann_id"),
    ],
)
def test_malformed_references_are_explained_or_left_out(tmp_path, change, message):
    bad = {key: value for key, value in {**refer_item(0, 1, 1, "val", ["the ship"]), **change}.items() if value != ...}
    write_small(tmp_path, [bad, refer_item(1, 1, 1, "val", ["the other ship"])])
    with pytest.raises(UserError, match=message):
        read_refer(tmp_path)
    found = read_refer(tmp_path, require_files=False)
    assert [s.phrase for s in found.samples] == ["the other ship"]
    assert len(found.faults) == 1


def test_missing_images_are_explained_or_left_to_be_told_later(tmp_path):
    make_rrsisd(tmp_path)
    for number in (11, 414):
        (tmp_path / "images" / "rrsisd" / "JPEGImages" / f"{number:05d}.jpg").unlink()
    with pytest.raises(UserError, match=r"missing: \S+00011\.jpg and 1 more; complete the download .*data verify"):
        read_refer(tmp_path)
    assert len(read_refer(tmp_path, split="val").samples) == 1  # only what is asked for is looked for
    found = read_refer(tmp_path, require_files=False)
    assert len(found.samples) == 6
    assert np.array_equal(found.samples[0].load_mask(), LEFT.parts[0])
    shutil.rmtree(tmp_path / "images" / "rrsisd" / "JPEGImages")
    (tmp_path / "images" / "rrsisd" / "JPEGImages").mkdir()
    with pytest.raises(UserError, match=r"missing: \S+JPEGImages/00011\.jpg and 5 more"):
        read_refer(tmp_path)


def test_missing_and_broken_files_are_explained(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        read_refer(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"holds no refs\(unc\)\.p, nor do the folders"):
        read_refer(tmp_path)
    make_rrsisd(tmp_path)
    with pytest.raises(UserError, match="has no split 'testA'; it has test, train, val"):
        read_refer(tmp_path, split="testA")
    for content, message in (
        ("{}", r'not a COCO instances file, "images" must be a list'),
        ('{"images": [], "annotations": [1]}', '"annotations" must be a list of objects with an id'),
        ("[]", "it holds no JSON object"),
        ("{", "is not valid JSON"),
    ):
        (tmp_path / "rrsisd" / "instances.json").write_text(content)
        with pytest.raises(UserError, match=rf"instances\.json.*{message}"):
            read_refer(tmp_path)
    (tmp_path / "rrsisd" / "instances.json").unlink()
    with pytest.raises(UserError, match=r"cannot read \S+instances\.json: No such file.*; give the folder that holds"):
        read_refer(tmp_path)
    for content in ({"a": 1}, [1], []):
        (tmp_path / "rrsisd" / "refs(unc).p").write_bytes(pickle.dumps(content))
        (tmp_path / "rrsisd" / "instances.json").write_text('{"images": [], "annotations": []}')
        with pytest.raises(UserError, match="must hold a list of references" if content else "lists no samples"):
            read_refer(tmp_path)


def write_small(folder: Path, references: list) -> None:
    """Two ships in one image; of the annotations 3 is broken and 4 comes twice."""
    images = [{"id": 1, "file_name": "1.jpg", "width": SIZE[0], "height": SIZE[1]}]
    broken = {**encode(box(0, 0, 2, 2)), "size": [3, 3]}
    outlines = [(1, [polygon(2, 3, 10, 8)]), (2, encode(box(20, 10, 30, 18))), (3, [broken])]
    outlines += [(4, [polygon(0, 0, 4, 4)]), (4, [polygon(0, 0, 5, 5)])]
    annotations = [{"id": k, "image_id": 1, "category_id": 7, "segmentation": outline} for k, outline in outlines]
    write_refer(folder, references, images, annotations)
    save_picture(folder / "images" / "1.jpg", *SIZE)


def read_json(root: Path) -> dict:
    return json.loads(next(root.rglob("instances.json")).read_text())


def edit_json(root: Path, change) -> None:
    path = next(root.rglob("instances.json"))
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_listing_makes_no_masks(tmp_path):
    """The 17,402 samples of RRSIS-D take about 2 seconds of a processor. Making the masks would take ten times that."""
    count = 2000
    columns = np.abs(np.arange(800) - 400)[None, :]
    diamond = columns + np.abs(np.arange(800) - 400)[:, None] < 200  # a run for each of 399 columns
    outline = [encode(diamond)]
    images = [{"id": k, "file_name": f"{k:05d}.jpg", "width": 800, "height": 800} for k in range(count)]
    annotations = [{"id": k, "image_id": k, "categories_id": 7, "segmentation": outline} for k in range(count)]
    write_refer(tmp_path, [refer_item(k, k, k, "train", ["a ship"]) for k in range(count)], images, annotations)
    began = time.process_time()
    found = read_refer(tmp_path, require_files=False)
    assert time.process_time() - began < 2
    assert len(found.samples) == count
    assert found.samples[-1].boxes == ((201, 201, 600, 600),)
