import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refersat.evaluation.presence import PresenceTally, auroc

SCORES = st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.5000001, 0.9, 1.0]) | st.floats(-5, 5), min_size=1, max_size=12)


@settings(max_examples=200, deadline=None)
@given(positive=SCORES, negative=SCORES)
def test_auroc_equals_a_count_over_all_pairs(positive, negative):
    wins = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    assert auroc(positive, negative) == pytest.approx(wins / (len(positive) * len(negative)))


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [([2, 3], [0, 1], 1.0), ([0], [1, 2], 0.0), ([1, 1], [1], 0.5), ([1], [], None), ([], [1], None)],
)
def test_auroc_of_known_cases(positive, negative, expected):
    assert auroc(positive, negative) == expected


def test_auroc_refuses_a_score_that_is_no_number():
    with pytest.raises(ValueError, match="not a number"):
        auroc([float("nan")], [0.0])


def filled(absent):
    tally = PresenceTally()
    for score, painted, kind in absent:
        tally.add_absent(score, painted, type=kind)
    return tally


def test_measures_of_absence():
    tally = filled([(0.1, 0.0, "absent-category"), (0.8, 0.5, "absent-relation"), (0.2, 0.0, "absent-relation")])
    for score, painted in [(0.9, 0.1), (0.7, 0.2), (0.3, 0.0), (0.6, 0.3)]:
        tally.add_present(score, painted)
    result = tally.result()
    by_type = result.pop("by_type")
    assert result == pytest.approx(
        {
            "absent_accuracy": 200 / 3,
            "presence_auroc": 900 / 12,  # 0.1 and 0.2 lose to all four, 0.8 to one
            "false_positive_area": 50 / 3,
            "count_absent": 3,
            "present_recall": 75,
            "count_present": 4,
        }
    )
    assert by_type["absent-category"]["presence_auroc"] == 100
    assert by_type["absent-relation"] == pytest.approx(
        {"absent_accuracy": 50, "presence_auroc": 500 / 8, "false_positive_area": 25, "count_absent": 2}
    )


def test_without_absent_phrases_there_is_nothing_to_tell():
    tally = PresenceTally()
    tally.add_present(0.5, 0.1)
    result = tally.result()
    assert (result["presence_auroc"], result["absent_accuracy"], result["count_absent"]) == (None, None, 0)
    assert result["present_recall"] == 100
