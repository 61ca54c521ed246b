import hashlib
import json
import pickle

import numpy as np
import pytest
from PIL import Image

from refersat.data.triplets import read_triplets
from refersat.errors import UserError

TRUTH = np.zeros((6, 8), dtype=bool)
TRUTH[1:4, 2:7] = True


def write(folder, items):
    for item in items:
        if isinstance(item, dict):
            for key in ("image", "mask"):
                if isinstance(item.get(key), str) and item[key]:
                    Image.fromarray(TRUTH.astype(np.uint8)).save(folder / item[key])
    (folder / "refs.json").write_text(json.dumps(items))
    return folder


def item(number, **changes):
    plain = {"id": f"s{number}", "image": "a.png", "mask": f"m{number}.png", "sentence": f"the ship {number}"}
    return {**plain, **changes}


def test_reads_samples_in_order(tmp_path):
    write(tmp_path, [item(0, type="position", category="ship", extra=1), item(1, id=17, mask=None, type="absent")])
    found = read_triplets(tmp_path)
    first, second = found.samples
    assert (first.id, first.phrase, first.type, first.category) == ("s0", "the ship 0", "position", "ship")
    assert first.image == tmp_path / "a.png"
    assert np.array_equal(first.load_mask(), TRUTH)
    assert (second.id, second.load_mask, second.type, second.category) == ("17", None, "absent", None)
    assert found.fingerprint == hashlib.sha256((tmp_path / "refs.json").read_bytes()).hexdigest()


def test_samples_can_go_to_another_process(tmp_path):
    sample = read_triplets(write(tmp_path, [item(0)])).samples[0]
    assert np.array_equal(pickle.loads(pickle.dumps(sample)).load_mask(), TRUTH)


def test_splits(tmp_path):
    write(tmp_path, [item(0, split="train"), item(1, split="val"), item(2), item(3, split="val")])
    assert [s.id for s in read_triplets(tmp_path, split="val").samples] == ["s1", "s3"]
    assert len(read_triplets(tmp_path, split="all").samples) == 4
    with pytest.raises(UserError, match=r"no split 'test'; it has train, val"):
        read_triplets(tmp_path, split="test")


def test_any_split_is_everything_where_no_item_has_one(tmp_path):
    assert len(read_triplets(write(tmp_path, [item(0), item(1)]), split="val").samples) == 2


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ({"id": 1}, "must hold a list"),
        ([], "lists no samples"),
        (["x"], "item 0 must be an object"),
        ([{"id": 1, "image": "a.png", "sentence": "x"}], "item 0 lacks mask"),
        ([item(0), item(1, sentence=" ")], "item 1: the phrase is empty"),
        ([item(0, sentence=5)], "item 0: a phrase is a text"),
        ([item(0, image=3)], '"image" must be a path'),
        ([item(0, mask="")], '"mask" must be'),
    ],
)
def test_malformed_lists_are_explained(tmp_path, items, message):
    with pytest.raises(UserError, match=message):
        read_triplets(write(tmp_path, items))


def test_missing_and_broken_files_are_explained(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*refs\.json"):
        read_triplets(tmp_path / "nowhere")
    write(tmp_path, [item(0), item(1)])
    (tmp_path / "m1.png").unlink()
    (tmp_path / "a.png").unlink()
    with pytest.raises(UserError, match=r"missing: \S+/a\.png and 1 more; .*data verify"):
        read_triplets(tmp_path)
    (tmp_path / "refs.json").write_text("[{")
    with pytest.raises(UserError, match="not valid JSON"):
        read_triplets(tmp_path)


def test_what_is_wrong_can_be_left_out_and_told(tmp_path):
    write(tmp_path, [item(0), item(1, sentence=" "), 5, item(3, split="val")])
    (tmp_path / "m0.png").unlink()
    found = read_triplets(tmp_path, require_files=False)
    assert [s.id for s in found.samples] == ["s0", "s3"]
    assert [fault.split("refs.json: ")[1][:7] for fault in found.faults] == ["item 1:", "item 2 "]
    with pytest.raises(UserError, match=r"m0\.png"):
        found.samples[0].load_mask()
