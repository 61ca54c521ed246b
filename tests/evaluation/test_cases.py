"""Which cases are shown follows from the rows alone, whoever kept their pictures."""

import numpy as np
import pytest

from refersat.evaluation import cases as module
from refersat.evaluation.cases import KEPT, CaseKeeper, collect_cases
from refersat.evaluation.progress import Folders
from refersat.evaluation.rows import SampleRow
from refersat.evaluation.run import Answer
from refersat.imagery import Image
from refersat.result import Result


def answer(number, intersection, *, absent=False, painted=0, shape=(40, 60)):
    row = SampleRow(
        id=f"s{number}",
        number=number,
        phrase=f"phrase {number}",
        type="unique",
        category="ship",
        score=0.7,
        target_area=0 if absent else 100,
        predicted_area=painted,
        overlaps={} if absent else {"native": (intersection, 100), "480": (0, 1)},
        pixels=1000,
        present=True,
    )
    rgb = np.zeros((*shape, 3), np.uint8)
    rgb[..., 1] = 10 * (number % 20)
    mask = np.zeros(shape, np.bool_)
    mask[: shape[0] // 2] = True
    result = Result(Image(rgb), row.phrase, "m", mask, np.where(mask, 0.8, 0.2).astype(np.float32), 0.7, True, 0.0)
    return Answer(row, result, None if absent else mask.T.copy().reshape(shape))


@pytest.fixture
def answers():
    rng = np.random.default_rng(0)
    made = [answer(k, int(rng.integers(0, 101)) if k % 7 else 0) for k in range(60)]
    return made + [answer(60 + k, 0, absent=True, painted=int(rng.integers(0, 3)) * 100) for k in range(30)]


def keep(out, parts):
    folders = Folders(out)
    folders.cases.mkdir(parents=True)
    for part in parts:
        keeper = CaseKeeper("native")
        for item in part:
            if (picture := keeper.picture(item)) is not None:
                folders.case(item.row).write_bytes(picture)


def names(cases):
    return {kind: [case.id for case in getattr(cases, kind)] for kind in ("best", "worst", "random", "false_alarms")}


def test_the_cases_are_the_foremost(tmp_path, answers):
    keep(tmp_path, [answers])
    cases = collect_cases(Folders(tmp_path), [item.row for item in answers], "native")
    ious = sorted(item.row.iou("native") for item in answers if not item.row.absent)
    assert [case.iou for case in cases.worst] == ious[:KEPT]
    assert [case.iou for case in cases.best] == ious[::-1][:KEPT]
    areas = {item.row.id: item.row.predicted_area for item in answers}
    assert [areas[case.id] for case in cases.false_alarms] == sorted(areas.values(), reverse=True)[:KEPT]
    assert all(case.iou is None and case.truth is None for case in cases.false_alarms)
    assert len({case.id for case in cases.random}) == KEPT
    assert [case.id for case in cases.random] != sorted(case.id for case in cases.random)


def test_order_and_sharing_change_nothing(tmp_path, answers):
    rows = [item.row for item in answers]
    keep(tmp_path / "whole", [answers])
    mixed = [answers[k] for k in np.random.default_rng(1).permutation(len(answers))]
    keep(tmp_path / "parts", [mixed[:7], mixed[7:50], mixed[50:]])
    assert names(collect_cases(Folders(tmp_path / "parts"), rows, "native")) == names(
        collect_cases(Folders(tmp_path / "whole"), rows, "native")
    )
    kept = [sorted(path.name for path in Folders(tmp_path / place).cases.iterdir()) for place in ("whole", "parts")]
    assert kept[0] == kept[1]
    assert len(kept[0]) <= 4 * KEPT


def test_most_answers_are_not_drawn(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(module, "draw", lambda item: drawn.append(item) or b"")
    keep(tmp_path, [[answer(k, 50 + k % 3, shape=(4, 4)) for k in range(2000)]])
    assert len(drawn) < 3 * KEPT * (1 + np.log(2000 / KEPT)) * 1.5


def test_a_picture_shows_image_and_masks(tmp_path):
    item = answer(1, 50, shape=(320, 640))
    keep(tmp_path, [[item]])
    (case,) = collect_cases(Folders(tmp_path), [item.row], "native").best
    assert case.image.shape == (160, 320, 3)
    assert np.abs(case.image.astype(int) - (0, 10, 0)).max() < 6
    assert case.truth.shape == case.prediction.shape == case.probability.shape == (160, 320)
    assert case.prediction[:80].all()
    assert not case.prediction[81:].any()
    assert case.probability[10, 10] == pytest.approx(0.8, abs=0.01)
    assert (case.phrase, case.type, case.category, case.score, case.iou) == ("phrase 1", "unique", "ship", 0.7, 0.5)


def test_a_small_object_can_be_seen(tmp_path):
    item = answer(1, 50, shape=(1000, 1000))
    item.result.mask[:] = False
    item.result.mask[500:503, 500:503] = True
    keep(tmp_path, [[item]])
    (case,) = collect_cases(Folders(tmp_path), [item.row], "native").best
    assert case.prediction.any()


def test_a_removed_picture_is_left_out(tmp_path):
    items = [answer(k, 10 * k) for k in range(3)]
    keep(tmp_path, [items])
    Folders(tmp_path).case(items[0].row).unlink()
    assert names(collect_cases(Folders(tmp_path), [item.row for item in items], "native"))["worst"] == ["s1", "s2"]
