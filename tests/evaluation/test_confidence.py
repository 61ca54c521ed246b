"""Intervals come from drawing whole images, and do not depend on the order of the samples."""

from dataclasses import replace

import numpy as np
import pytest

from refersat.evaluation.confidence import REPLICATES, ImageBootstrap, confidence_intervals
from refersat.evaluation.metrics import IouTally
from refersat.evaluation.presence import auroc
from refersat.evaluation.report import metrics_of
from refersat.evaluation.rows import Evaluation, SampleRow


def row(number, image, overlap, *, score=0.5, painted=1, type="unique"):
    return SampleRow(
        id=f"{number}",
        number=number,
        phrase="x",
        type=type,
        category=None,
        score=score,
        target_area=10,
        predicted_area=painted,
        overlaps={} if overlap is None else {"native": overlap},
        pixels=100,
        present=True,
        image=image,
    )


@pytest.fixture
def rows():
    rng = np.random.default_rng(1)
    made = []
    for number in range(60):
        union = int(rng.integers(1, 50))
        overlap = None if number % 4 == 0 else (int(rng.integers(0, union + 1)), union)
        kind = "position" if number % 3 else "size"
        made.append(
            row(number, f"image {number // 4}", overlap, score=round(rng.random(), 1), painted=number % 7, type=kind)
        )
    return made


def test_intervals_equal_a_plain_loop_over_the_replicates(rows):
    bootstrap = ImageBootstrap([("", one.image) for one in rows])
    draws = np.concatenate(list(bootstrap.weights())).astype(int)
    assert draws.shape == (REPLICATES, 15)
    assert (draws.sum(axis=1) == 15).all()
    values = {"mIoU": [], "oIoU": [], "Pr@0.5": [], "size": [], "auroc": [], "accuracy": [], "area": [], "recall": []}
    for draw in draws:
        drawn = [one for one, place in zip(rows, bootstrap.image_of, strict=True) for _ in range(draw[place])]
        tally, size = IouTally(), IouTally()
        for one in drawn:
            if not one.absent:
                tally.add(*one.overlaps["native"])
                if one.type == "size":
                    size.add(*one.overlaps["native"])
        present, absent = [o for o in drawn if not o.absent], [o for o in drawn if o.absent]
        for name in ("mIoU", "oIoU", "Pr@0.5"):
            values[name].append(tally.result()[name])
        values["size"].append(size.result()["mIoU"])
        values["auroc"].append(100 * auroc([o.score for o in present], [o.score for o in absent]))
        values["accuracy"].append(100 * np.mean([o.predicted_area == 0 for o in absent]))
        values["area"].append(np.mean([o.predicted_area for o in absent]))
        values["recall"].append(100 * np.mean([o.predicted_area > 0 for o in present]))
    expected = {name: pytest.approx(np.percentile(found, [2.5, 97.5])) for name, found in values.items()}
    metrics = metrics_of(Evaluation(("native",), rows))
    native, presence = metrics["native"]["intervals"], metrics["presence"]["intervals"]
    for name in ("mIoU", "oIoU", "Pr@0.5"):
        assert native[name] == expected[name]
    assert metrics["native"]["by_type"]["size"]["intervals"]["mIoU"] == expected["size"]
    assert presence["presence_auroc"] == expected["auroc"]
    assert presence["absent_accuracy"] == expected["accuracy"]
    assert presence["false_positive_area"] == expected["area"]
    assert presence["present_recall"] == expected["recall"]
    assert native["mIoU"][0] < metrics["native"]["mIoU"] < native["mIoU"][1]


def test_order_changes_nothing(rows):
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = confidence_intervals([rows[k] for k in order], ["native"])
    for place, intervals in confidence_intervals(rows, ["native"]).items():
        assert {name: pytest.approx(value) for name, value in intervals.items()} == shuffled[place]


def test_more_phrases_about_the_same_images_prove_nothing(rows):
    targets = [one for one in rows if not one.absent]
    asked_thrice = [replace(one, number=3 * one.number + k, id=f"{one.id}-{k}") for one in targets for k in range(3)]
    once, thrice = (confidence_intervals(part, ["native"])["native",] for part in (targets, asked_thrice))
    assert thrice["mIoU"] == pytest.approx(once["mIoU"])
    other_images = [replace(one, image=f"{one.image}-{one.number}") for one in asked_thrice]
    low, high = confidence_intervals(other_images, ["native"])["native",]["mIoU"]
    assert high - low < 0.75 * (once["mIoU"][1] - once["mIoU"][0])


def test_one_image_has_no_interval():
    alone = [row(0, "a", (1, 2)), row(1, "a", (2, 2))]
    found = confidence_intervals(alone, ["native"])
    assert set(found["native",].values()) == {None}
    assert set(found["presence",].values()) == {None}
    assert confidence_intervals([], ["native"]) == {}


def test_images_of_two_data_sets_differ_whatever_their_names():
    made = [replace(row(k, "1.png", (k, 2)), dataset=name) for k, name in enumerate(("a", "b"))]
    assert confidence_intervals(made, ["native"])["native",]["mIoU"] == (0, 50)
