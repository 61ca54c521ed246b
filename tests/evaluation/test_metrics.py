import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.evaluation.metrics import GroupedIouTally, IouTally, iou, overlap, size_class

MASKS = st.tuples(st.integers(1, 6), st.integers(1, 6)).flatmap(
    lambda shape: st.tuples(*(st.lists(st.booleans(), min_size=n, max_size=n) for n in [shape[0] * shape[1]] * 2)).map(
        lambda pair: tuple(np.array(values).reshape(shape) for values in pair)
    )
)


def tally_of(pairs):
    tally = IouTally()
    for prediction, truth in pairs:
        tally.add(*overlap(prediction, truth))
    return tally


@settings(max_examples=100, deadline=None)
@given(pairs=st.lists(MASKS, min_size=1, max_size=8))
def test_equals_an_independent_count_over_all_pixels(pairs):
    result = tally_of(pairs).result()
    ious, intersections, unions = [], 0, 0
    for prediction, truth in pairs:
        inter = sum(bool(p) and bool(t) for p, t in zip(prediction.flat, truth.flat, strict=True))
        union = sum(bool(p) or bool(t) for p, t in zip(prediction.flat, truth.flat, strict=True))
        ious.append(0.0 if union == 0 else inter / union)
        intersections, unions = intersections + inter, unions + union
    assert result["mIoU"] == pytest.approx(100 * np.mean(ious))
    assert result["oIoU"] == pytest.approx(100 * intersections / unions if unions else 0.0)
    for threshold in (0.5, 0.6, 0.7, 0.8, 0.9):
        assert result[f"Pr@{threshold}"] == pytest.approx(100 * np.mean(np.array(ious) >= threshold))
    assert result["count"] == len(pairs)


def test_the_names_are_those_of_the_field():
    assert list(IouTally().result()) == ["mIoU", "oIoU", "Pr@0.5", "Pr@0.6", "Pr@0.7", "Pr@0.8", "Pr@0.9", "count"]


@pytest.mark.parametrize("tenths", [5, 6, 7, 8, 9])
def test_an_iou_equal_to_the_threshold_counts(tenths):
    tally = IouTally()
    tally.add(tenths, 10)
    assert tally.result()[f"Pr@0.{tenths}"] == 100
    tally.add(tenths * 1000 - 1, 10_000)
    assert tally.result()[f"Pr@0.{tenths}"] == 50


def test_an_empty_union_is_an_overlap_of_zero():
    assert iou(0, 0) == 0
    tally = IouTally()
    tally.add(0, 0)
    assert (tally.result()["mIoU"], tally.result()["oIoU"], tally.result()["Pr@0.5"]) == (0, 0, 0)


def test_no_samples_give_no_numbers():
    result = IouTally().result()
    assert result.pop("count") == 0
    assert set(result.values()) == {None}


def test_masks_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="different shapes"):
        overlap(np.ones((2, 3), bool), np.ones((3, 2), bool))


@pytest.mark.parametrize(
    ("share", "name"),
    [(0, "<0.5%"), (0.00499, "<0.5%"), (0.005, "0.5-2%"), (0.02, "2-8%"), (0.08, ">8%"), (1, ">8%")],
)
def test_size_classes(share, name):
    assert size_class(share) == name


def test_groups_hold_their_own_samples_only():
    tally = GroupedIouTally()
    tally.add(1, 2, {"by_type": "size", "by_size": ">8%", "by_category": "ship"})
    tally.add(1, 1, {"by_type": "position", "by_size": "<0.5%", "by_category": "bridge"})
    tally.add(0, 1, {"by_size": "<0.5%"})
    result = tally.result()
    assert (result["count"], result["mIoU"]) == (3, 50)
    assert {
        grouping: [(name, group["count"], group["mIoU"]) for name, group in result[grouping].items()]
        for grouping in ("by_type", "by_size", "by_category")
    } == {
        "by_type": [("position", 1, 100), ("size", 1, 50)],
        "by_size": [("<0.5%", 2, 50), (">8%", 1, 50)],
        "by_category": [("bridge", 1, 100), ("ship", 1, 50)],
    }
    assert "by_dataset" not in result
