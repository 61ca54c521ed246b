"""Every fault is found, with its file; sound data have none."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from refersat.data.checks import FAULTS, check_group
from refersat.data.published import PUBLISHED, PublishedSet
from refersat.data.samples import Sample, SampleSet
from refersat.data.scan import ImageGroup
from refersat.data.sources import read_samples
from refersat.data.verify import verify_samples
from tests.data.factories.coco import make_coco
from tests.data.factories.dior_rsvg import make_dior_rsvg
from tests.data.factories.phrase_files import make_refsegrs, make_risbench
from tests.data.factories.pictures import picture, rectangle, save_mask, save_picture
from tests.data.factories.refer import RRSISD, make_nwpu_refer, make_rrsisd

WIDTH, HEIGHT = 40, 30
TRUTH = rectangle(WIDTH, HEIGHT, 5, 6, 20, 16)


@pytest.fixture
def folder(tmp_path):
    """Sound triplets: two images in train, one each in val and test, and a phrase that names nothing."""
    items = []
    for k, split in enumerate(["train", "train", "val", "test"]):
        save_picture(tmp_path / f"{k}.png", WIDTH, HEIGHT, seed=k)
        save_mask(tmp_path / f"{k}.mask.png", TRUTH)
        items.append(
            {"id": f"s{k}", "image": f"{k}.png", "mask": f"{k}.mask.png", "sentence": f"ship {k}", "split": split}
        )
    items.append({"id": "none", "image": "3.png", "mask": None, "sentence": "the airplane", "split": "test"})
    write(tmp_path, items)
    return tmp_path


def write(folder, items):
    (folder / "refs.json").write_text(json.dumps(items))


def change(folder, number, **fields):
    items = json.loads((folder / "refs.json").read_text())
    items[number] |= fields
    write(folder, items)


def verify(source, **options):
    kind = str(source).partition(":")[0]
    return verify_samples(read_samples(str(source), split="all", require_files=False), kind=kind, **options)


def verify_triplets(folder):
    return verify(f"triplets:{folder}")


def only_fault(found):
    (fault,) = found.faults
    return fault


def kinds(found):
    return Counter(fault.kind for fault in found.faults)


def test_sound_data_have_no_fault(folder):
    found = verify_triplets(folder)
    assert found.faults == ()
    assert found.usable
    assert list(found.splits) == ["train", "val", "test"]
    test = found.splits["test"]
    assert (test.samples, test.images, test.masks, test.absent, test.boxes_only, test.published) == (
        2,
        1,
        1,
        1,
        0,
        None,
    )


def test_a_missing_image_is_told_with_its_file(folder):
    (folder / "1.png").unlink()
    found = verify_triplets(folder)
    fault = only_fault(found)
    assert (fault.kind, fault.file, fault.split) == ("image-missing", str(folder / "1.png"), "train")
    assert "s1" in fault.message
    assert not found.usable


def test_a_missing_image_is_told_once_for_all_its_samples(folder):
    (folder / "3.png").unlink()
    assert "s3 and 1 more" in only_fault(verify_triplets(folder)).message


@pytest.mark.parametrize("content", [b"", b"no picture", "half"], ids=["empty", "text", "cut short"])
def test_an_unreadable_image_is_told(folder, content):
    path = folder / "2.png"
    path.write_bytes(path.read_bytes()[:-60] if content == "half" else content)
    fault = only_fault(verify_triplets(folder))
    assert (fault.kind, fault.file) == ("image-unreadable", str(path))


def test_names_that_no_file_can_have_are_missing_files(folder):
    change(folder, 0, image="x" * 5000, mask="a\0b")
    assert kinds(verify_triplets(folder)) == {"image-missing": 1, "mask-missing": 1}


def test_a_missing_mask_is_told_with_its_file(folder):
    (folder / "2.mask.png").unlink()
    fault = only_fault(verify_triplets(folder))
    assert (fault.kind, fault.file, fault.sample) == ("mask-missing", str(folder / "2.mask.png"), "s2")


@pytest.mark.parametrize("content", [b"no picture", "half"], ids=["text", "cut short"])
def test_an_unreadable_mask_is_told_with_its_file(folder, content):
    path = folder / "2.mask.png"
    path.write_bytes(path.read_bytes()[:-20] if content == "half" else content)
    fault = only_fault(verify_triplets(folder))
    assert (fault.kind, fault.file, fault.sample) == ("mask-unreadable", str(folder / "2.mask.png"), "s2")


def test_a_mask_of_another_size_is_told_with_both_sizes(folder):
    save_mask(folder / "0.mask.png", TRUTH[:20])
    found = verify_triplets(folder)
    fault = only_fault(found)
    assert (fault.kind, fault.file) == ("mask-size", str(folder / "0.mask.png"))
    assert fault.message == "the mask has 40 x 20 pixels, the image 40 x 30"
    assert not found.usable


@pytest.mark.parametrize(("fill", "kind"), [(False, "mask-empty"), (True, "mask-full")])
def test_an_empty_and_a_full_mask_are_remarked(folder, fill, kind):
    save_mask(folder / "0.mask.png", np.full_like(TRUTH, fill))
    found = verify_triplets(folder)
    assert (only_fault(found).kind, only_fault(found).sample) == (kind, "s0")
    assert found.usable


def test_grey_in_a_mask_is_remarked(folder):
    grey = TRUTH.astype(np.uint8) * 255
    grey[0, :3] = 90
    Image.fromarray(grey).save(folder / "0.mask.png")
    fault = only_fault(verify_triplets(folder))
    assert (fault.kind, fault.message) == ("mask-grey", "3 pixels are neither 0 nor 255")


def test_a_second_sample_of_one_id_is_a_fault_at_each(folder):
    change(folder, 1, id="s0")
    found = verify_triplets(folder)
    assert [(fault.kind, fault.file) for fault in found.faults] == [
        ("id-twice", str(folder / "0.mask.png")),
        ("id-twice", str(folder / "1.mask.png")),
    ]
    assert not found.usable


def test_the_same_question_twice_is_remarked(folder):
    items = json.loads((folder / "refs.json").read_text())
    write(folder, [*items, items[0] | {"id": "again", "sentence": " Ship  0"}])
    fault = only_fault(verify_triplets(folder))
    assert (fault.kind, fault.sample) == ("asked-twice", "again")
    assert "s0" in fault.message


def test_what_the_reader_left_out_is_a_fault(folder):
    change(folder, 0, sentence="  ")
    found = verify_triplets(folder)
    assert only_fault(found).kind == "listing"
    assert "item 0: the phrase is empty" in only_fault(found).message
    assert not found.usable
    assert found.splits["train"].samples == 1


def test_no_samples_at_all_are_a_fault(folder):
    write(folder, [])
    found = verify_triplets(folder)
    assert only_fault(found).kind == "no-samples"
    assert not found.usable


def test_one_image_in_two_splits_is_remarked(folder):
    change(folder, 3, image="0.png", mask="0.mask.png")
    found = verify_triplets(folder)
    fault = only_fault(found)
    assert (fault.kind, fault.file, fault.split) == ("same-image", str(folder / "0.png"), "test")
    assert fault.message == "lies in train, too"
    assert found.usable


def test_a_copied_image_in_another_split_is_remarked(folder):
    shutil.copy(folder / "1.png", folder / "2.png")
    fault = only_fault(verify_triplets(folder))
    assert (fault.kind, fault.file, fault.split) == ("same-content", str(folder / "2.png"), "val")
    assert str(folder / "1.png") in fault.message


def test_a_compressed_copy_in_another_split_is_remarked(folder):
    smooth = Image.fromarray(picture(8, 6, seed=3)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    smooth.save(folder / "0.png")
    smooth.save(folder / "copy.jpg", quality=60)
    change(folder, 2, image="copy.jpg")
    fault = only_fault(verify_triplets(folder))
    assert (fault.kind, fault.file) == ("near-duplicate", str(folder / "copy.jpg"))
    assert "0.png of train" in fault.message


def boxed(tmp_path, *boxes, mask=None, absent=False):
    path = tmp_path / "a.png"
    save_picture(path, WIDTH, HEIGHT)
    sample = Sample("s", path, "the ship", None if mask is None else lambda: mask, boxes=boxes, absent=absent)
    return check_group(ImageGroup(path, (sample,))).faults


@pytest.mark.parametrize("box", [(0, 0, 40, 30), (1, 1, 41, 31), (3.5, 2, 4, 30)])
def test_boxes_inside_are_sound(tmp_path, box):
    assert boxed(tmp_path, box) == ()


@pytest.mark.parametrize(
    ("box", "kind"),
    [
        ((0, 0, 42, 30), "box-outside"),
        ((-2, 0, 4, 4), "box-outside"),
        ((0, 10, 4, 99), "box-outside"),
        ((9, 0, 9, 5), "box-empty"),
        ((9, 0, 5, 5), "box-empty"),
        ((0, 0, float("nan"), 5), "box-empty"),
    ],
)
def test_boxes_that_stand_out_or_hold_nothing_are_remarked(tmp_path, box, kind):
    assert [fault.kind for fault in boxed(tmp_path, (0, 0, 5, 5), box)] == [kind]


def test_boxes_are_compared_with_the_mask(tmp_path):
    assert boxed(tmp_path, (5, 6, 20, 16), mask=TRUTH) == ()
    assert boxed(tmp_path, (5, 6, 10, 16), (12, 6, 20, 16), mask=TRUTH) == ()
    assert [fault.kind for fault in boxed(tmp_path, (5, 6, 40, 30), mask=TRUTH)] == ["box-elsewhere"]


def test_a_sample_without_any_truth_is_a_fault(tmp_path):
    assert [fault.kind for fault in boxed(tmp_path)] == ["no-truth"]
    assert boxed(tmp_path, absent=True) == ()
    assert [fault.kind for fault in boxed(tmp_path, mask=TRUTH, absent=True)] == ["mask-of-absent"]


def test_a_reader_that_breaks_at_one_mask_does_not_stop_the_others(tmp_path):
    def broken():
        raise ZeroDivisionError("runs of length 0")

    save_picture(tmp_path / "a.png", WIDTH, HEIGHT)
    samples = [Sample(str(k), tmp_path / "a.png", "it", mask) for k, mask in enumerate([broken, lambda: TRUTH[:5]])]
    faults = check_group(ImageGroup(tmp_path / "a.png", tuple(samples))).faults
    assert [(fault.kind, fault.sample) for fault in faults] == [("mask-unreadable", "0"), ("mask-size", "1")]
    assert faults[0].message == "ZeroDivisionError: runs of length 0"


MAKERS = {
    "refsegrs": make_refsegrs,
    "rrsisd": make_rrsisd,
    "nwpu-refer": make_nwpu_refer,
    "risbench": make_risbench,
    "dior-rsvg": make_dior_rsvg,
    "coco": make_coco,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_format_is_verified(tmp_path, kind):
    MAKERS[kind](tmp_path)
    found = verify(f"{kind}:{tmp_path}")
    assert found.usable, found.faults
    assert sum(count.samples for count in found.splits.values()) > 3
    assert {count.published is not None for count in found.splits.values()} == {kind in PUBLISHED}


def test_published_counts_and_empty_masks_are_known(tmp_path):
    make_rrsisd(tmp_path)
    found = verify(f"rrsisd:{tmp_path}")
    assert [(name, count.published) for name, count in found.splits.items()] == [
        ("train", 12181),
        ("val", 1740),
        ("test", 3481),
    ]
    assert [fault.message for fault in found.faults if fault.kind == "mask-empty"] == [
        "no pixel is set, as published"
    ] * 2
    assert [fault.message for fault in found.faults if fault.kind == "count"] == [
        "3 samples in train; RRSIS-D has 12,181",
        "1 samples in val; RRSIS-D has 1,740",
        "2 samples in test; RRSIS-D has 3,481",
    ]


def test_equal_counts_are_no_fault_and_a_missing_split_is_one(folder, monkeypatch):
    counts = {"train": 2, "val": 1, "test": 2, "extra": 5}
    monkeypatch.setitem(PUBLISHED, "triplets", PublishedSet("Ships", counts))
    found = verify_triplets(folder)
    assert only_fault(found).message == "0 samples in extra; Ships has 5"
    assert found.splits["extra"].samples == 0


def test_shared_images_of_dior_rsvg_are_as_published(tmp_path):
    make_dior_rsvg(tmp_path)
    shared = [fault for fault in verify(f"dior-rsvg:{tmp_path}").faults if fault.kind == "same-image"]
    assert shared
    assert all(fault.message.endswith("as published") for fault in shared)


def test_a_mask_that_is_stretched_onto_its_image_is_remarked(tmp_path):
    make_rrsisd(tmp_path, [replace(RRSISD[0], image_size=(WIDTH, HEIGHT + 1))])
    (fault,) = [fault for fault in verify(f"rrsisd:{tmp_path}").faults if fault.kind != "count"]
    assert (fault.kind, fault.message) == ("mask-stretched", "40 x 30 pixels, the image 40 x 31")
    assert fault.file.endswith("00011.jpg")


def test_a_mask_that_is_much_larger_than_its_image_is_a_fault(tmp_path):
    make_rrsisd(tmp_path, [replace(RRSISD[0], image_size=(WIDTH // 2, HEIGHT // 2))])
    found = verify(f"rrsisd:{tmp_path}")
    assert kinds(found)["mask-size"] == 1
    assert not found.usable


@pytest.mark.slow
def test_workers_find_the_same(tmp_path):
    make_rrsisd(tmp_path)
    (next((tmp_path / "images").rglob("*.jpg"))).unlink()
    assert verify(f"rrsisd:{tmp_path}", workers=2) == verify(f"rrsisd:{tmp_path}", workers=1)


def test_progress_is_told_for_each_image(folder):
    told = []
    data_set = read_samples(f"triplets:{folder}", split="all", require_files=False)
    verify_samples(data_set, kind="triplets", on_image=lambda: told.append(1))
    assert len(told) == 4


def test_the_dictionary_is_plain_and_names_every_fault(folder):
    (folder / "1.png").unlink()
    content = json.loads(json.dumps(verify_triplets(folder).as_dict()))
    assert content["usable"] is False
    assert content["fault_counts"] == {"image-missing": 1}
    (fault,) = content["faults"]
    assert (fault["file"], fault["fatal"]) == (str(folder / "1.png"), True)
    assert content["splits"]["val"]["samples"] == 1


def test_faults_are_sorted_with_the_fatal_ones_first():
    fatal = [kind.fatal for kind in FAULTS.values()]
    assert fatal == sorted(fatal, reverse=True)


def test_a_set_without_splits_is_one_split(tmp_path):
    save_picture(tmp_path / "a.png", WIDTH, HEIGHT)
    samples = tuple(Sample(str(k), tmp_path / "a.png", f"ship {k}", lambda: TRUTH) for k in range(2))
    found = verify_samples(SampleSet("x", "all", "", samples), kind="triplets")
    assert list(found.splits) == ["all"]
    assert found.faults == ()
