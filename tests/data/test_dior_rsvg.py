"""DIOR-RSVG: objects counted over all files, and XML that is read with care."""

from __future__ import annotations

import pickle

import pytest

from refersat.data.dior_rsvg import read_dior_rsvg
from refersat.errors import UserError
from tests.data.factories.dior_rsvg import SPLITS, annotation, make_dior_rsvg

LAUGHS = """<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol2 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">]>
<annotation><filename>&lol2;</filename></annotation>"""


def test_numbers_of_a_split_count_objects_over_the_sorted_files(tmp_path):
    make_dior_rsvg(tmp_path)
    found = read_dior_rsvg(tmp_path, split="train")
    assert (found.name, found.split, found.faults) == ("DIOR-RSVG", "train", ())
    windmill, vehicle = found.samples
    assert (windmill.id, windmill.phrase, windmill.category) == ("00011-0", "A windmill on the upper left", "windmill")
    assert windmill.boxes == ((10, 20, 30, 50),)
    assert (windmill.image, windmill.image_id) == (tmp_path / "JPEGImages" / "00011.jpg", "00011.jpg")
    assert (windmill.load_mask, windmill.absent) == (None, False)
    assert (vehicle.id, vehicle.phrase) == ("00012-1", "The red & white vehicle")
    assert [s.phrase for s in read_dior_rsvg(tmp_path, split="val").samples] == ["The service area"]
    assert [s.id for s in read_dior_rsvg(tmp_path, split="test").samples] == ["00012-0", "00110-1"]


def test_all_splits(tmp_path):
    found = read_dior_rsvg(make_dior_rsvg(tmp_path)).samples
    assert [s.split for s in found] == ["train", "train", "val", "test", "test"]
    assert pickle.loads(pickle.dumps(found[0])) == found[0]


@pytest.mark.parametrize("place", ["", "DIOR_RSVG", "DIOR_RSVG/Annotations", "DIOR_RSVG/JPEGImages"])
def test_found_from_the_folder_above_and_from_within(tmp_path, place):
    make_dior_rsvg(tmp_path / "DIOR_RSVG")
    assert len(read_dior_rsvg(tmp_path / place).samples) == 5


def test_files_that_macos_leaves_do_not_shift_the_numbers(tmp_path):
    make_dior_rsvg(tmp_path)
    (tmp_path / "Annotations" / "._00011.xml").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "Annotations" / "readme.txt").touch()
    assert read_dior_rsvg(tmp_path, split="train").samples[1].id == "00012-1"


def test_a_missing_annotation_file_would_shift_all_numbers(tmp_path):
    make_dior_rsvg(tmp_path)
    (tmp_path / "Annotations" / "00012.xml").unlink()
    for require_files in (True, False):
        with pytest.raises(UserError, match=r"test\.txt lists 1 objects beyond the 3 .*would point to wrong objects"):
            read_dior_rsvg(tmp_path, split="test", require_files=require_files)


def test_an_object_that_a_split_lists_twice_is_one_sample(tmp_path):
    make_dior_rsvg(tmp_path, splits={**SPLITS, "val": (3, 3, 0)})
    assert [s.id for s in read_dior_rsvg(tmp_path, split="val").samples] == ["00110-0", "00011-0"]
    ids = [(s.split, s.id) for s in read_dior_rsvg(tmp_path).samples]
    assert [(split, name) for split, name in ids if name.startswith("00011-0")] == [
        ("train", "00011-0"),
        ("val", "00011-0#2"),
    ]


def test_missing_images_are_explained_or_left_to_be_told_later(tmp_path):
    make_dior_rsvg(tmp_path)
    (tmp_path / "JPEGImages" / "00011.jpg").unlink()
    with pytest.raises(UserError, match=r"missing: \S+00011\.jpg; complete the download"):
        read_dior_rsvg(tmp_path)
    assert len(read_dior_rsvg(tmp_path, split="val").samples) == 1
    assert len(read_dior_rsvg(tmp_path, require_files=False).samples) == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<description>A windmill on the upper left</description>", "", "the phrase is empty"),
        ("<ymin>20</ymin>", "", "the box lacks 'ymin'"),
        ("<ymin>20</ymin>", "<ymin>2O</ymin>", "the box is malformed"),
    ],
)
def test_malformed_objects_are_explained_or_left_out(tmp_path, old, new, message):
    make_dior_rsvg(tmp_path)
    path = tmp_path / "Annotations" / "00011.xml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=rf"00011\.xml, object 0: {message}"):
        read_dior_rsvg(tmp_path, split="train")
    found = read_dior_rsvg(tmp_path, split="train", require_files=False)
    assert [s.id for s in found.samples] == ["00012-1"]  # the numbers are not shifted
    assert len(found.faults) == 1


def test_corners_may_be_exchanged(tmp_path):
    make_dior_rsvg(tmp_path)
    path = tmp_path / "Annotations" / "00011.xml"
    path.write_text(annotation("00011.jpg", [("ship", (30, 50, 10, 20), "The ship")]).replace("xmin>30", "xmin>30.5"))
    (sample, _) = read_dior_rsvg(tmp_path, split="train").samples
    assert sample.boxes == ((10, 20, 30.5, 50),)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>',
        '<!DOCTYPE annotation SYSTEM "http://127.0.0.1:9/x.dtd"><annotation/>',
    ],
)
def test_document_types_are_refused(tmp_path, text, encoding):
    make_dior_rsvg(tmp_path)
    (tmp_path / "Annotations" / "00012.xml").write_bytes(text.replace('<?xml version="1.0"?>\n', "").encode(encoding))
    with pytest.raises(UserError, match=r"00012\.xml is not read: annotations need no <!DOCTYPE>"):
        read_dior_rsvg(tmp_path)


@pytest.mark.parametrize("content", [b"", b"<annotation>", b"\xff\xfe\x00", b'<?xml version="1.0" encoding="no"?><a/>'])
def test_what_is_no_xml_is_explained(tmp_path, content):
    make_dior_rsvg(tmp_path)
    (tmp_path / "Annotations" / "00012.xml").write_bytes(content)
    with pytest.raises(UserError, match=r"00012\.xml is not valid XML .*; download it again"):
        read_dior_rsvg(tmp_path)


def test_what_is_missing_is_explained(tmp_path):
    with pytest.raises(UserError, match="holds no Annotations"):
        read_dior_rsvg(tmp_path)
    make_dior_rsvg(tmp_path)
    for content in ("1\nx\n", "-1\n"):
        (tmp_path / "val.txt").write_text(content)
        with pytest.raises(UserError, match=r"val\.txt must hold the number of an object on each line"):
            read_dior_rsvg(tmp_path, split="val")
    (tmp_path / "val.txt").unlink()
    with pytest.raises(UserError, match="has no split 'val'; it has test, train"):
        read_dior_rsvg(tmp_path, split="val")
    for name in ("train.txt", "test.txt"):
        (tmp_path / name).unlink()
    with pytest.raises(UserError, match=r"holds no train\.txt, val\.txt, test\.txt: complete the download"):
        read_dior_rsvg(tmp_path)
