import os
from pathlib import Path

import pytest

from refersat.data.samples import Sample
from refersat.data.scan import ImageGroup, group_by_image, scan
from refersat.errors import UserError


def sample(number, image):
    return Sample(id=str(number), image=Path(image), phrase="the ship", load_mask=None)


def name_and_process(group):
    return group.image.name, os.getpid()


def fail_at_seven(group):
    if group.image.name == "7":
        raise UserError("cannot read 7")
    return group.image.name


def groups(count):
    return [ImageGroup(Path(str(k)), (sample(k, str(k)),)) for k in range(count)]


def test_samples_of_one_image_stay_together_in_the_order_of_the_images():
    found = group_by_image([sample(0, "b"), sample(1, "a"), sample(2, "b")])
    assert [(str(g.image), [s.id for s in g.samples]) for g in found] == [("b", ["0", "2"]), ("a", ["1"])]


def test_one_worker_is_this_process():
    assert set(scan(name_and_process, groups(3), workers=1)) == {(str(k), os.getpid()) for k in range(3)}


def test_few_images_start_no_process():
    assert {process for _, process in scan(name_and_process, groups(3))} == {os.getpid()}


@pytest.mark.slow
def test_workers_give_the_same_in_the_same_order():
    found = list(scan(name_and_process, groups(100), workers=2))
    assert [name for name, _ in found] == [str(k) for k in range(100)]
    assert os.getpid() not in {process for _, process in found}


@pytest.mark.slow
def test_what_a_worker_raises_arrives():
    with pytest.raises(UserError, match="cannot read 7"):
        list(scan(fail_at_seven, groups(100), workers=2))


def test_no_workers_are_refused():
    with pytest.raises(UserError, match="at least 1, not 0"):
        list(scan(name_and_process, groups(1), workers=0))
