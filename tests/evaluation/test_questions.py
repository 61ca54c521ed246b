"""Several data sets become one list of questions."""

import json

import numpy as np
import pytest
from PIL import Image

from refersat.data.samples import Sample, SampleSet
from refersat.errors import UserError
from refersat.evaluation import questions as module
from refersat.evaluation.questions import read_questions


@pytest.fixture
def write(tmp_path):
    def write(place, images):
        folder = tmp_path / place
        folder.mkdir(parents=True)
        items = []
        for k, name in enumerate(images):
            Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(folder / name)
            items.append({"id": k, "image": name, "mask": None, "sentence": "x"})
        (folder / "refs.json").write_text(json.dumps(items))
        return f"triplets:{folder}"

    return write


def test_numbers_go_on_over_data_sets_and_limits_hold_for_each(write):
    sources = [write("one", ["a.png", "b.png", "c.png"]), write("two", ["a.png", "b.png"])]
    found = read_questions(sources, split="all", limit=2)
    assert [(q.number, q.dataset, q.sample.id) for q in found.questions] == [
        (0, "one", "0"),
        (1, "one", "1"),
        (2, "two", "0"),
        (3, "two", "1"),
    ]
    assert found.fingerprint not in {data.fingerprint for data in found.sets}
    assert read_questions(sources[:1], split="all").fingerprint == found.sets[0].fingerprint


def test_questions_about_one_image_come_together(write):
    source = write("one", ["b.png", "a.png", "b.png", "c.png", "a.png"])
    found = read_questions([source], split="all")
    assert [question.number for question in found.by_image()] == [0, 2, 1, 4, 3]


def test_data_sets_of_one_name_go_by_their_source(write):
    sources = [write("x/val", ["a.png"]), write("y/val", ["a.png"])]
    assert read_questions(sources, split="all").names == tuple(sources)
    with pytest.raises(UserError, match="is given twice"):
        read_questions([sources[0]] * 2, split="all")


@pytest.mark.parametrize(
    ("boxes", "message"), [(((0.0, 0.0, 1.0, 1.0),), "has boxes but no mask"), ((), "has no mask")]
)
def test_samples_without_masks_are_refused(monkeypatch, tmp_path, boxes, message):
    data = SampleSet("rsvg", "test", "0", (Sample("7", tmp_path / "a.png", "x", None, boxes=boxes),))
    monkeypatch.setattr(module, "read_samples", lambda source, *, split: data)
    with pytest.raises(UserError, match=f"dior-rsvg:x: sample 7 {message}"):
        read_questions(["dior-rsvg:x"], split="test")
