"""Two evaluations in pairs: differences, how sure they are, and what flipped."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from rich.console import Console

from refersat.errors import UserError
from refersat.evaluation import report
from refersat.evaluation.cases import Cases
from refersat.evaluation.compare import compare_runs
from refersat.evaluation.comparison_report import comparison_table, flips_table, summary_line
from refersat.evaluation.report import write_report
from refersat.evaluation.rows import Evaluation, SampleRow


def row(number, overlap, *, image=None, type="position", dataset="set", painted=5, phrase=None):
    return SampleRow(
        id=f"s{number}",
        number=number,
        dataset=dataset,
        image=f"{number}" if image is None else image,
        phrase=phrase or f"phrase {number}",
        type=type,
        category=None,
        score=0.5,
        target_area=10,
        predicted_area=painted,
        overlaps={} if overlap is None else {"native": overlap, "480": overlap},
        pixels=100,
        present=True,
    )


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes rows as a finished evaluation; its page is not looked at here."""
    monkeypatch.setattr("refersat.evaluation.page.write_page", lambda path, **_: path.touch())

    def write(name, rows, *, protocols=("native", "480"), model=None):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        known = {"model": {"name": model or name}, "protocols": dict.fromkeys(protocols, "")}
        rows = [replace(one, overlaps={k: v for k, v in one.overlaps.items() if k in protocols}) for one in rows]
        write_report(folder, Evaluation(protocols, rows), known, Cases((), (), (), ()))
        return folder

    return write


def measures(comparison):
    return {measure.name: measure for measure in comparison.measures}


def test_differences_and_flips(write):
    a = [
        row(0, (0, 10)),
        row(1, (5, 10)),
        row(2, (4, 10), type="size"),
        row(3, (6, 10)),
        row(4, None, painted=0),
        row(5, None),
    ]
    b = [
        row(0, (5, 10)),
        row(1, (4, 10)),
        row(2, (9, 10), type="size"),
        row(3, (6, 10)),
        row(4, None),
        row(5, None, painted=10),
    ]
    found = compare_runs(write("a", a), write("b", b))
    assert (found.a, found.b, found.protocol, found.count, found.images) == ("a", "b", "native", 4, 4)
    miou = measures(found)["mIoU"]
    assert (miou.a, miou.b, miou.difference) == pytest.approx((100 * 1.5 / 4, 100 * 2.4 / 4, 100 * 0.9 / 4))
    assert measures(found)["Pr@0.5"].difference == pytest.approx(25)
    assert measures(found)["absent_accuracy"].difference == pytest.approx(-50)
    assert measures(found)["false_positive_area"].difference == pytest.approx(5)
    assert [flip.id for flip in found.won] == ["s0", "s2"]  # equal gains: by id
    assert [(flip.id, flip.iou_a, flip.iou_b) for flip in found.lost] == [("s1", 0.5, 0.4)]
    assert found.flips == (*found.won, *found.lost)
    assert {group.name: (group.count, group.measure.difference) for group in found.by_type} == {
        "position": (3, pytest.approx(100 * 0.4 / 3)),
        "size": (1, pytest.approx(50)),
    }


def test_the_same_twice_differs_in_nothing(write):
    rows = [row(k, (k, 20)) for k in range(12)]
    found = compare_runs(write("a", rows, model="m"), write("b", rows, model="m"))
    assert (found.a, found.b) == ("a", "b")
    assert found.flips == ()
    for measure in found.measures:
        assert (measure.difference, measure.interval, measure.p_value) == (0, (0, 0), 1)


def test_p_values_equal_trying_all_swaps(write):
    """Of seven images there are 128 ways to swap: the share that differs as much, of oIoU, too."""
    rng = np.random.default_rng(4)
    overlaps = [[(int(rng.integers(0, 30)), int(rng.integers(30, 60))) for _ in range(14)] for _ in range(2)]
    sides = [[row(k, pair, image=f"{k // 2}") for k, pair in enumerate(side)] for side in overlaps]
    found = measures(compare_runs(write("a", sides[0]), write("b", sides[1])))

    def difference(swap, measure):
        x, y = ([overlaps[side ^ swap[k // 2]][k] for k in range(14)] for side in (0, 1))
        return measure(y) - measure(x)

    for name, measure in (
        ("mIoU", lambda pairs: np.mean([i / u for i, u in pairs])),
        ("oIoU", lambda pairs: sum(i for i, _ in pairs) / sum(u for _, u in pairs)),
    ):
        seen = difference((0,) * 7, measure)
        assert found[name].difference == pytest.approx(100 * seen)
        others = [difference(swap, measure) for swap in product((0, 1), repeat=7)]
        exact = np.mean([abs(other) >= abs(seen) - 1e-12 for other in others])
        assert found[name].p_value == pytest.approx(exact, abs=0.02)


def test_a_difference_in_every_image_is_no_chance(write):
    a, b = ([row(k, (value + k % 3, 10)) for k in range(30)] for value in (3, 5))
    miou = measures(compare_runs(write("a", a), write("b", b)))["mIoU"]
    assert miou.p_value < 0.001
    assert miou.interval == pytest.approx((20, 20))


def test_phrases_about_one_image_are_one_piece_of_evidence(write):
    a, b = ([row(k, (value, 10), image=f"{k % 3}") for k in range(60)] for value in (3, 5))
    assert measures(compare_runs(write("a", a), write("b", b)))["mIoU"].p_value == pytest.approx(0.25, abs=0.02)
    a, b = ([replace(one, image="1") for one in side] for side in (a, b))
    alone = measures(compare_runs(write("c", a), write("d", b)))["mIoU"]
    assert (alone.p_value, alone.interval, alone.difference) == (None, None, pytest.approx(20))


def test_samples_that_only_one_has_are_left_out_and_counted(write):
    a, b = [row(k, (5, 10)) for k in range(6)], [row(k, (6, 10), dataset="moved") for k in range(2, 9)]
    found = compare_runs(write("a", a), write("b", b))
    assert (found.count, found.only_a, found.only_b) == (4, 2, 3)
    assert "5 samples that only one of them has are left out" in summary_line(found)


@pytest.mark.parametrize(
    ("b", "message"),
    [
        ([row(9, (1, 2))], "have no samples in common"),
        ([row(0, (1, 2), phrase="another")], "are about different data: sample s0 is not the same"),
        ([row(0, None)], "are about different data"),
    ],
)
def test_other_data_is_refused(write, b, message):
    with pytest.raises(UserError, match=message):
        compare_runs(write("a", [row(0, (1, 2))]), write("b", b))


def test_a_protocol_in_common_is_needed(write):
    rows = [row(0, (1, 2))]
    native, both = write("a", rows, protocols=("native",)), write("b", rows, protocols=("480", "native"))
    assert compare_runs(native, both).protocol == "native"
    other = write("c", rows, protocols=("480",))
    with pytest.raises(UserError, match="evaluate both with one --protocol"):
        compare_runs(native, other)


def test_what_is_no_finished_evaluation_is_told(write, tmp_path):
    done = write("a", [row(0, (1, 2))])
    with pytest.raises(UserError, match="nowhere holds no finished evaluation"):
        compare_runs(done, tmp_path / "nowhere")
    (done / report.SAMPLES_FILE).write_text("id,phrase\n1,x\n")
    with pytest.raises(UserError, match="is not of this version: evaluate again"):
        compare_runs(done, done)


def test_what_a_person_reads(write):
    a, b = [row(k, (4, 10)) for k in range(14)], [row(k, (6, 10), type="size") for k in range(14)]
    found = compare_runs(write("[a]", a), write("b", b))
    console = Console(width=120)
    with console.capture() as capture:
        console.print(comparison_table(found), flips_table(found))
    text = capture.get()
    assert "[a]" in text
    assert "+20.00 to +20.00" in text
    assert "won: 4 more" in text
    assert "14 samples won, 0 lost at IoU 0.5" in summary_line(found)
