import numpy as np
import pytest

from refersat.errors import UserError
from refersat.evaluation.protocol import FIELD_480, FIELD_1024, NATIVE, PROTOCOLS, choose_protocols, logit
from refersat.imagery import Image
from refersat.result import Result


def answer(probability, *, threshold=0.5, present=True):
    probability = np.asarray(probability, dtype=np.float32)
    mask = (probability > threshold) & present
    image = Image(rgb=np.zeros((*probability.shape, 3), np.uint8))
    return Result(image, "x", "m", mask, probability, score=0.5, present=present, seconds=0.0)


def test_names_and_choice():
    assert list(PROTOCOLS) == ["native", "480", "1024"]
    assert choose_protocols("480") == (FIELD_480,)
    assert choose_protocols(None) == (NATIVE, FIELD_480, FIELD_1024)
    with pytest.raises(UserError, match="unknown protocol '512'; choose native, 480, 1024"):
        choose_protocols("512")


def test_native_takes_both_masks_as_they_are():
    truth = np.random.default_rng(0).random((5, 7)) > 0.5
    result = answer(np.random.default_rng(1).random((5, 7)))
    assert NATIVE.truth(truth) is truth
    assert NATIVE.prediction(result, 0.5) is result.mask


@pytest.mark.parametrize("shape", [(960, 480), (240, 1440), (480, 480)])
def test_truth_takes_the_nearest_pixel_centre(shape):
    truth = np.random.default_rng(0).random(shape) > 0.5
    rows, columns = (((np.arange(480) + 0.5) * side / 480).astype(int) for side in shape)
    assert np.array_equal(FIELD_480.truth(truth), truth[np.ix_(rows, columns)])


def test_prediction_is_cut_after_the_resize_of_the_logits():
    """Between a sure no (-8) and an unsure yes (+1) the logits cross 0 near the yes, far from the middle."""
    low, high = 1 / (1 + np.exp(8)), 1 / (1 + np.exp(-1))
    result = answer(np.repeat([[low, high]], 2, axis=0))
    mask = FIELD_480.prediction(result, 0.5)
    assert mask.shape == (480, 480)
    first = int(mask[0].argmax())
    between = (first + 0.5) * 2 / 480 - 0.5  # position from the centre of the left pixel, 0, to the right one's, 1
    assert between == pytest.approx(8 / 9, abs=1 / 240)
    assert mask[:, first:].all()
    assert not mask[:, :first].any()


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_prediction_of_the_size_itself_is_the_native_one(threshold):
    probability = np.random.default_rng(0).random((1024, 1024), dtype=np.float32)
    probability[:2] = [[0.0], [1.0]]
    result = answer(probability, threshold=threshold)
    assert np.mean(FIELD_1024.prediction(result, threshold) != result.mask) < 1e-6


def test_an_answer_that_was_emptied_stays_empty():
    result = answer(np.ones((4, 4)), present=False)
    assert not FIELD_480.prediction(result, 0.5).any()


def test_shared_logits_change_nothing():
    result = answer(np.random.default_rng(0).random((90, 70)))
    shared = logit(result.probability)
    for protocol in PROTOCOLS.values():
        assert np.array_equal(protocol.prediction(result, 0.5), protocol.prediction(result, 0.5, shared))
