"""What a person reads after an evaluation."""

import pytest
from rich.console import Console

from refersat.evaluation.report import metrics_of, presence_line, results_table, time_line, time_of
from refersat.evaluation.rows import Evaluation, SampleRow, Seconds


def row(number, overlap, *, type="position", painted=5, category="ship"):
    return SampleRow(
        id=f"{number}",
        number=number,
        image=f"{number}",
        phrase="x",
        type=type,
        category=category,
        score=0.9 if overlap else 0.2,
        target_area=10,
        predicted_area=painted,
        overlaps={} if overlap is None else {"480": overlap},
        pixels=100,
        present=True,
        seconds=Seconds(loading=1, model=6, scoring=1, background=2),
    )


@pytest.fixture
def evaluation():
    return Evaluation(
        ("480",), [row(0, (5, 10)), row(1, (0, 10), type="[size]"), row(2, None, painted=0), row(3, None)]
    )


def test_the_table(evaluation):
    console = Console(width=100)
    with console.capture() as capture:
        console.print(results_table(metrics_of(evaluation)))
    lines = capture.get().splitlines()
    assert next(line for line in lines if line.startswith("480 ")).split()[:4] == ["480", "25.00", "0.0-50.0", "25.00"]
    assert any(line.startswith("by type") for line in lines)
    assert lines[-1].strip() == "groups under protocol 480"
    assert next(line for line in lines if "[size]" in line).split()[1:3] == ["0.00", "-"]
    assert not any("by category" in line for line in lines)  # a single one says nothing


def test_the_line_about_absence(evaluation):
    line = presence_line(metrics_of(evaluation))
    assert line.startswith("phrases that name nothing (2): 50.00 % answered empty (with a target: 100.00 % painted)")
    assert "AUROC 100.00, 2.50 % of the image painted in vain" in line
    assert presence_line(metrics_of(Evaluation(("480",), [row(0, (5, 10))]))) is None


def test_the_line_about_time(evaluation):
    time = time_of(evaluation)
    assert time["percent"] == {"loading": 12.5, "model": 75, "scoring": 12.5}
    assert (time["seconds_per_sample"], time["background_seconds"]) == (8, 8)
    assert time_line(time).startswith("time: loading 12.50 %, model 75.00 %, scoring 12.50 % of 8.00 s per sample")


def test_nothing_measured_is_no_number():
    empty = Evaluation(("480",))
    metrics = metrics_of(empty)
    assert (metrics["480"]["mIoU"], metrics["480"]["count"]) == (None, 0)
    assert set(time_of(empty)["percent"].values()) == {None}
