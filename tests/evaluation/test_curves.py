"""Histograms of probabilities give what counting at each threshold gives."""

import numpy as np
import pytest

from refersat.evaluation.curves import LEVELS, THRESHOLDS, calibration, curves, histogram, threshold_curves
from refersat.evaluation.rows import SampleRow


def row(probability, truth, *, withheld=False, score=0.5, absent=False):
    truth = np.asarray(truth, np.bool_)
    return SampleRow(
        id="a",
        phrase="x",
        type="unique",
        category=None,
        score=score,
        target_area=int(truth.sum()),
        predicted_area=0,
        overlaps={} if absent else {"native": (0, 1)},
        pixels=truth.size,
        present=True,
        withheld=withheld,
        histogram=None if absent else histogram(np.asarray(probability, np.float32), truth),
    )


@pytest.fixture
def pairs():
    """Random probabilities, many of them exactly on a threshold, as logits of 0 are on 0.5."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(5):
        probability = rng.random((13, 17), dtype=np.float32)
        probability[rng.random((13, 17)) < 0.3] = rng.choice([0.0, 0.25, 0.5, 0.75, 1.0])
        found.append((probability, rng.random((13, 17)) < 0.4))
    return found


def test_curves_equal_counting_at_each_threshold(pairs):
    found = threshold_curves([row(*pair) for pair in pairs])
    assert found["thresholds"] == list(THRESHOLDS) == [pytest.approx(k / 20) for k in range(1, 20)]
    for k, threshold in enumerate(THRESHOLDS):
        counts = [((p > np.float32(threshold)) & t, (p > np.float32(threshold)) | t) for p, t in pairs]
        ious = [both.sum() / either.sum() for both, either in counts]
        assert found["mIoU"][k] == pytest.approx(100 * np.mean(ious))
        assert found["Pr@0.5"][k] == pytest.approx(100 * np.mean(np.array(ious) >= 0.5))
        overall = sum(both.sum() for both, _ in counts) / sum(either.sum() for _, either in counts)
        assert found["oIoU"][k] == pytest.approx(100 * overall)


def test_a_withheld_answer_stays_empty_at_every_threshold(pairs):
    probability, truth = pairs[0]
    found = threshold_curves([row(probability, truth), row(probability, truth, withheld=True)])
    alone = threshold_curves([row(probability, truth)])
    assert found["mIoU"] == pytest.approx([value / 2 for value in alone["mIoU"]])


def test_a_histogram_counts_every_pixel_once_in_blocks_too(pairs, monkeypatch):
    probability, truth = pairs[0]
    whole = histogram(probability, truth)
    assert whole.shape == (3, LEVELS)
    assert (whole[0].sum(), whole[1].sum()) == (truth.size, truth.sum())
    monkeypatch.setattr("refersat.evaluation.curves._BLOCK", 10)
    assert np.array_equal(histogram(probability, truth), whole)


def test_pixel_calibration(pairs):
    bins = calibration([row(*pair) for pair in pairs])["pixel_calibration"]
    every = np.concatenate([p.ravel() for p, _ in pairs])
    true = np.concatenate([t.ravel() for _, t in pairs])
    assert [(item["low"], item["high"]) for item in bins[:2]] == [(0, 0.1), (0.1, 0.2)]
    for item in bins:
        inside = (every > np.float32(item["low"])) & (every <= np.float32(item["high"])) | (
            (every == 0) & (item["low"] == 0)
        )
        assert item["count"] == inside.sum()
        assert item["share_true"] == pytest.approx(true[inside].mean())
        assert item["mean_probability"] == pytest.approx(every[inside].mean(), abs=1 / 480 + 1e-6)


def test_presence_calibration():
    present = [row([[0.5]], [[True]], score=score) for score in (0.95, 0.91, 1.0, 0.31)]
    absent = [row([[0.5]], [[False]], score=score, absent=True) for score in (0.3, 0.35, 0.92)]
    bins = curves([*present, *absent])["presence_calibration"]
    assert [item["count"] for item in bins] == [0, 0, 0, 3, 0, 0, 0, 0, 0, 4]
    assert bins[9]["share_true"] == pytest.approx(3 / 4)
    assert bins[9]["mean_probability"] == pytest.approx((0.95 + 0.91 + 1.0 + 0.92) / 4)
    assert (bins[0]["share_true"], bins[0]["mean_probability"]) == (None, None)
    assert calibration(present)["presence_calibration"] == []
    assert calibration(absent) == {"pixel_calibration": [], "presence_calibration": []}


def test_no_targets_give_empty_curves():
    assert threshold_curves([]) == {"thresholds": [], "mIoU": [], "oIoU": [], "Pr@0.5": []}
