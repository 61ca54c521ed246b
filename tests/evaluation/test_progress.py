"""Rows survive crashes, and only those of the same evaluation are taken up."""

import numpy as np
import pytest
from filelock import FileLock

from refersat.errors import UserError
from refersat.evaluation.progress import Progress, ProgressWriter
from refersat.evaluation.rows import SampleRow, Seconds

PINS = {"model": {"a": "1"}, "data": [["x", "val", "f"]], "threshold": 0.5, "protocols": ("native", "480")}


def row(number):
    return SampleRow(
        id=f"{number}",
        number=number,
        dataset="ä",
        image="a.png",
        phrase="the “ship”\r\n2\u2028",
        type="unique",
        category=None,
        score=0.1 + number / 3,
        target_area=3,
        predicted_area=2,
        overlaps={"native": (1, 4), "480": (10, 44)},
        pixels=100,
        present=True,
        withheld=False,
        histogram=np.arange(60).reshape(3, 20),
        seconds=Seconds(0.1, 0.2, 0.3, 0.4),
    )


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def write(out, process, numbers, pins=PINS):
    with Progress(out) as progress:
        ProgressWriter(progress.folders.progress, process, pins).append([row(number) for number in numbers])


def read(out, pins=PINS):
    with Progress(out) as progress:
        return progress.rows(pins)


def test_rows_come_back_as_they_were_in_the_order_of_the_samples(out):
    write(out, 0, [3, 0])
    write(out, 1, [1, 2])
    write(out, 1, [4])
    found = read(out)
    assert found == [row(number) for number in range(5)]
    assert np.array_equal(found[0].histogram, row(0).histogram)
    assert found[0].seconds == row(0).seconds


@pytest.mark.parametrize("cut", [1, 30, -1, -200])
def test_a_line_that_was_cut_short_is_dropped_and_written_over(out, cut):
    write(out, 0, [0, 1])
    file = out / "progress" / "0.jsonl"
    whole = file.read_bytes()
    first_row_ends = whole.index(b"\n", whole.index(b"\n") + 1) + 1
    file.write_bytes(whole[:cut] if cut < 0 else whole[: first_row_ends + cut])
    assert [found.number for found in read(out)] == [0]
    write(out, 0, [5])
    assert read(out) == [row(0), row(5)]


def test_a_cut_first_line_is_no_progress(out):
    write(out, 0, [0])
    file = out / "progress" / "0.jsonl"
    file.write_bytes(file.read_bytes()[:20])
    assert read(out) == []
    write(out, 0, [1])
    assert read(out) == [row(1)]


@pytest.mark.parametrize(
    ("key", "value", "named"), [("threshold", 0.4, "--threshold"), ("model", {"a": "2"}, "model"), ("new", 1, "new")]
)
def test_another_evaluation_is_refused(out, key, value, named):
    write(out, 0, [0])
    with pytest.raises(UserError, match=rf"differs from this one \({named}\): give another --out, or --overwrite"):
        read(out, PINS | {key: value})
    with Progress(out) as progress:
        progress.clear()
    assert read(out, PINS | {key: value}) == []


def test_a_damaged_file_is_told(out):
    write(out, 0, [0])
    with (out / "progress" / "0.jsonl").open("a") as file:
        file.write("nonsense\n")
    with pytest.raises(UserError, match=r"0\.jsonl is damaged: --overwrite starts anew"):
        read(out)


def test_two_evaluations_do_not_share_a_folder(out):
    with Progress(out), pytest.raises(UserError, match="another evaluation is writing to"), Progress(out):
        pass
    with Progress(out):
        assert FileLock(out / "progress" / "lock").is_locked is False


def test_nothing_done_leaves_nothing(out):
    with Progress(out) as progress:
        progress.folders.cases.mkdir()
    assert list(out.iterdir()) == []
    (out / "progress").mkdir()
    (out / "progress" / "notes.txt").write_text("mine")
    with Progress(out):
        pass
    assert [path.name for path in (out / "progress").iterdir()] == ["notes.txt"]
