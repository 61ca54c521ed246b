"""RefSegRS, RISBench and folders that look alike, as their authors pack them."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
from PIL import Image

from refersat.data.phrase_files import REFSEGRS, RISBENCH, read_phrase_files
from refersat.errors import UserError
from tests.data.factories.phrase_files import SIZE, make_refsegrs, make_risbench, truth
from tests.data.factories.pictures import save_mask, save_picture


def test_refsegrs(tmp_path):
    make_refsegrs(tmp_path)
    found = read_phrase_files(tmp_path, layout=REFSEGRS, split="train")
    assert (found.name, found.split, found.faults) == ("RefSegRS", "train", ())
    assert [s.phrase for s in found.samples] == ["vehicle in the parking area", "road", "low vegetation"]
    first, second, _ = found.samples
    assert (first.id, first.split, first.image_id, first.absent) == ("train-1", "train", "1", False)
    assert first.image == tmp_path / "images" / "1.tif"
    with Image.open(tmp_path / "masks" / "12.tif") as mask:  # the format, not only our idea of it
        assert (mask.mode, mask.info["compression"], mask.size) == ("RGB", "packbits", SIZE)
    assert np.array_equal(second.load_mask(), truth(1))
    assert np.array_equal(pickle.loads(pickle.dumps(second)).load_mask(), truth(1))
    content = (tmp_path / "output_phrase_train.txt").read_bytes()
    assert found.fingerprint == hashlib.sha256(content).hexdigest()


def test_all_splits_in_the_usual_order(tmp_path):
    found = read_phrase_files(make_refsegrs(tmp_path), layout=REFSEGRS)
    assert [s.split for s in found.samples] == ["train"] * 3 + ["val"] + ["test"] * 2
    assert len({s.id for s in found.samples}) == 6


def test_risbench_names_files_of_train_in_val(tmp_path):
    make_risbench(tmp_path)
    found = read_phrase_files(tmp_path, layout=RISBENCH, split="val")
    assert [(s.image.name, s.split) for s in found.samples] == [("train_2.png", "val"), ("val_1.png", "val")]
    assert found.samples[0].phrase == "The harbor."
    assert np.array_equal(found.samples[0].load_mask(), truth(1))
    assert len(read_phrase_files(tmp_path, layout=RISBENCH).samples) == 4


@pytest.mark.parametrize("place", ["", "RefSegRS", "RefSegRS/RefSegRS", "RefSegRS/RefSegRS/images"])
def test_found_from_the_folder_above_and_from_within(tmp_path, place):
    make_refsegrs(tmp_path / "RefSegRS" / "RefSegRS")
    assert len(read_phrase_files(tmp_path / place, layout=REFSEGRS).samples) == 6


def test_grey_in_masks_of_refsegrs_is_cut_at_50(tmp_path):
    make_refsegrs(tmp_path)
    values = np.full((*SIZE[::-1], 3), 255, np.uint8)
    values[0, 0], values[0, 1] = 50, 51
    Image.fromarray(values).save(tmp_path / "masks" / "402.tif", compression="packbits")
    (sample,) = read_phrase_files(tmp_path, layout=REFSEGRS, split="val").samples
    assert sample.load_mask()[0, :2].tolist() == [False, True]


def test_lines_as_editors_leave_them(tmp_path):
    """Byte order mark, Windows' line ends, empty lines, blanks, characters that are no UTF-8, a repeated name."""
    make_refsegrs(tmp_path)
    lines = b"\xef\xbb\xbf1 road \r\n\r\n12  the  car\x85 \r\n1 the caf\xe9\r\n \r\n"
    (tmp_path / "output_phrase_train.txt").write_bytes(lines)
    found = read_phrase_files(tmp_path, layout=REFSEGRS, split="train").samples
    assert [s.phrase for s in found] == ["road", "the  car\ufffd", "the caf\ufffd"]
    assert [s.id for s in found] == ["train-1", "train-12", "train-1#2"]


def test_any_folder_of_images_and_masks(tmp_path):
    save_picture(tmp_path / "image" / "a.b.jpg", *SIZE)
    (tmp_path / "image" / "a.b.jpg.aux.xml").touch()
    (tmp_path / "image" / "a.b.xml").touch()
    save_mask(tmp_path / "masks" / "a.b.png", truth(0), white=1)
    (tmp_path / "phrases_test.txt").write_text("a.b the harbour\na.b.jpg the same by its whole name\n")
    found = read_phrase_files(tmp_path, split="test")
    assert found.name == tmp_path.name
    for sample in found.samples:
        assert sample.image.name == "a.b.jpg"
        assert np.array_equal(sample.load_mask(), truth(0))


def test_what_is_missing_is_explained(tmp_path):
    with pytest.raises(UserError, match=r"holds no output_phrase_<split>\.txt, nor"):
        read_phrase_files(tmp_path)
    make_refsegrs(tmp_path)
    with pytest.raises(UserError, match="has no split 'testA'; it has test, train, val"):
        read_phrase_files(tmp_path, split="testA")
    (tmp_path / "masks" / "12.tif").unlink()
    (tmp_path / "images" / "1.tif").unlink()
    with pytest.raises(UserError, match=r"missing: \S+/images/1\.tif and 1 more; complete the download"):
        read_phrase_files(tmp_path, layout=REFSEGRS, split="train")
    assert len(read_phrase_files(tmp_path, layout=REFSEGRS, split="test").samples) == 2
    (tmp_path / "output_phrase_val.txt").write_text("402\n")
    with pytest.raises(UserError, match=r"output_phrase_val\.txt, line 1: the phrase is empty"):
        read_phrase_files(tmp_path, layout=REFSEGRS, split="val")
    (tmp_path / "output_phrase_val.txt").write_text("\n")
    with pytest.raises(UserError, match="lists no samples"):
        read_phrase_files(tmp_path, layout=REFSEGRS, split="val")
    with pytest.raises(UserError, match="holds no folder img_rgb: complete the download"):
        read_phrase_files(tmp_path, layout=RISBENCH, split="val")


def test_what_is_missing_can_be_told_later(tmp_path):
    make_refsegrs(tmp_path)
    (tmp_path / "masks" / "12.tif").unlink()
    (tmp_path / "images" / "1.tif").unlink()
    (tmp_path / "output_phrase_val.txt").write_text("402\n")
    found = read_phrase_files(tmp_path, layout=REFSEGRS, require_files=False)
    assert len(found.samples) == 5
    assert found.samples[0].image == tmp_path / "images" / "1.tif"
    (fault,) = found.faults
    assert fault.startswith(str(tmp_path / "output_phrase_val.txt, line 1: the phrase is empty"))
    with pytest.raises(UserError, match="cannot read the mask"):
        found.samples[1].load_mask()
