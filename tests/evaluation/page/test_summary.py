import numpy as np
import pytest

from refersat.evaluation.page.charts import ReliabilityBin
from refersat.evaluation.page.summary import Answers, calibration_error, histogram_bins, share_at_least


def test_answers_tell_phrases_with_a_target_from_those_without(make_row):
    rows = [
        make_row(0, overlap=(25, 100), score=0.9),
        make_row(1, overlap=None, score=0.2),
        make_row(2, overlap=(0, 0)),
    ]
    answers = Answers.of(rows, "480")
    assert answers.ious.tolist() == [0.25, 0.0]
    assert answers.present.tolist() == [0.9, 0.75]
    assert answers.absent.tolist() == [0.2]


def test_answers_of_nothing():
    answers = Answers.of([], "native")
    assert answers.ious.size == answers.present.size == answers.absent.size == 0
    assert share_at_least(answers.ious) == []


def test_histogram_counts_every_value_once_and_one_in_the_last_bin():
    bins = histogram_bins(np.array([0.0, 0.05, 0.1, 1.0]), np.array([0.99, 1.5]), bins=10)
    assert [item.counts for item in bins] == [(2, 0), (1, 0), *[(0, 0)] * 7, (1, 2)]
    assert (bins[3].low, bins[3].high) == pytest.approx((0.3, 0.4))


def test_share_at_least_counts_equal_values_as_pr_does():
    curve = dict(share_at_least(np.array([0.7, 0.5, 0.2, 0.0]), steps=10))
    assert curve == pytest.approx(
        {0: 1, 0.1: 0.75, 0.2: 0.75, 0.3: 0.5, 0.4: 0.5, 0.5: 0.5, 0.6: 0.25, 0.7: 0.25, 0.8: 0, 0.9: 0, 1: 0}
    )


def test_calibration_error_weighs_bins_by_their_answers():
    bins = [ReliabilityBin(0, 0.5, 3, 0.2, 0.3), ReliabilityBin(0.5, 1, 1, 0.9, 0.4)]
    assert calibration_error(bins) == pytest.approx((3 * 0.1 + 0.5) / 4)
    assert calibration_error([]) is None
