"""Images and truths are read ahead, in order, and every mistake comes at its turn."""

import threading
import time
from functools import partial

import numpy as np
import pytest
from PIL import Image as PillowImage

from refersat.data.samples import Sample
from refersat.errors import UserError
from refersat.evaluation.reading import Question, read_ahead


@pytest.fixture
def questions(tmp_path):
    """Six questions about three images of 4 x 5 pixels, the last of which names nothing."""
    for name in "abc":
        PillowImage.new("RGB", (5, 4), (ord(name), 0, 0)).save(tmp_path / f"{name}.png")
    truth = partial(np.ones, (4, 5), np.bool_)
    samples = [Sample(f"{k}", tmp_path / f"{name}.png", "x", truth) for k, name in enumerate("aabbb")]
    samples.append(Sample("5", tmp_path / "c.png", "x", None, absent=True))
    return [Question(k, sample) for k, sample in enumerate(samples)]


@pytest.mark.parametrize("ahead", [1, 2, 10])
def test_order_and_shared_images(questions, ahead):
    loaded = list(read_ahead(questions, ahead=ahead))
    assert [item.question.number for item in loaded] == [0, 1, 2, 3, 4, 5]
    assert [chr(item.image.rgb[0, 0, 0]) for item in loaded] == list("aabbbc")
    assert loaded[0].image is loaded[1].image
    assert [item.truth is None for item in loaded] == [False] * 5 + [True]
    assert all(item.seconds >= 0 for item in loaded)


def test_a_mistake_comes_at_its_turn(questions, tmp_path):
    (tmp_path / "b.png").unlink()
    reader = read_ahead(questions, ahead=4)
    assert [next(reader).question.number for _ in range(2)] == [0, 1]
    with pytest.raises(UserError, match="no such image"):
        next(reader)


def test_no_more_than_asked_for_is_read_ahead(questions):
    read = []

    def load(number):
        read.append(number)
        return np.ones((4, 5), np.bool_)

    watched = [Question(q.number, Sample(q.sample.id, q.sample.image, "x", partial(load, q.number))) for q in questions]
    reader = read_ahead(watched, ahead=2)
    next(reader)
    time.sleep(0.3)
    assert read == [0, 1, 2]
    reader.close()
    time.sleep(0.1)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]
