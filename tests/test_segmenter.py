"""From images and phrases to results, with a model that finds bright pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

import refersat
from refersat import device, segmenter
from refersat.errors import UserError
from refersat.imagery import Image, ImageSource, read_image
from refersat.models import answering
from refersat.models.answering import Answer
from refersat.segmenter import Segmenter
from tests.conftest import threads

Make = Callable[..., Segmenter]


def intersection_over_union(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_the_bright_square_is_found_at_the_image_s_own_size(
    make_segmenter: Make, bright_square: NDArray[np.uint8]
) -> None:
    result = make_segmenter()(bright_square, "  the bright\n square ")
    assert result.mask.shape == result.probability.shape == (80, 100)
    assert (result.mask.dtype.name, result.probability.dtype.name) == ("bool", "float32")
    assert intersection_over_union(result.mask, bright_square[..., 0] > 100) > 0.9
    np.testing.assert_array_equal(result.mask, result.probability > 0.5)
    assert (result.phrase, result.model, result.present) == ("the bright square", "fake", True)
    assert result.score == pytest.approx(1 / (1 + np.exp(-3)))
    assert result.seconds > 0


@pytest.mark.parametrize("side", [1, 2, 63, 65, 200])
def test_images_of_any_size(make_segmenter: Make, side: int) -> None:
    white = np.full((side, 2 * side, 3), 255, dtype=np.uint8)
    assert make_segmenter()(white, "all").mask.all()


def test_what_is_not_there_has_an_empty_mask_but_keeps_its_probabilities(
    make_segmenter: Make, bright_square: NDArray[np.uint8]
) -> None:
    for threshold in (None, 0.1):
        result = make_segmenter()(bright_square, "the unicorn", threshold=threshold)
        assert not result.present
        assert not result.mask.any()
        assert result.probability.max() > 0.9
        assert result.score == pytest.approx(1 / (1 + np.exp(3)))


def test_presence_follows_the_model_s_threshold(make_segmenter: Make, bright_square: NDArray[np.uint8]) -> None:
    assert make_segmenter(presence_threshold=0.01)(bright_square, "the unicorn").present
    assert not make_segmenter(presence_threshold=0.99)(bright_square, "the square").present


def test_the_score_of_models_without_presence_head_is_the_mask_s_confidence(
    make_segmenter: Make, bright_square: NDArray[np.uint8]
) -> None:
    ask = make_segmenter(presence="mask_confidence")
    result = ask(bright_square, "the unicorn")
    assert result.present
    assert result.score == pytest.approx(result.probability[result.mask].mean())
    nothing = ask(np.zeros_like(bright_square), "the square")
    assert (nothing.present, nothing.score) == (False, 0.0)


def test_the_threshold_is_on_the_probability(make_segmenter: Make, bright_square: NDArray[np.uint8]) -> None:
    ask = make_segmenter()
    for threshold in (0.0, 0.2, 0.9, 1.0):
        result = ask(bright_square, "the square", threshold=threshold)
        np.testing.assert_array_equal(result.mask, result.probability > threshold)
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match="threshold"):
            ask(bright_square, "the square", threshold=wrong)


@pytest.mark.parametrize(("logit", "pairs"), [(0.0, False), (0.5, True), (0.5, False)])
def test_the_model_s_own_threshold_is_on_its_logits(
    make_segmenter: Make, bright_square: NDArray[np.uint8], logit: float, pairs: bool
) -> None:
    ask = make_segmenter(mask_threshold=logit, two_class_logit=pairs)
    expected = 1 / (1 + np.exp(-(2 * logit - 1 if pairs else logit)))
    assert ask.threshold == pytest.approx(expected)
    result = ask(bright_square, "the square")
    np.testing.assert_array_equal(result.mask, result.probability > ask.threshold)


def test_pixels_without_data_are_background(make_segmenter: Make, bright_square: NDArray[np.uint8]) -> None:
    valid = np.ones((80, 100), dtype=bool)
    valid[:, :45] = False
    result = make_segmenter()(Image(rgb=bright_square, valid=valid), "the square")
    assert result.mask[30, 50]
    assert not result.mask[:, :45].any()
    assert not result.probability[:, :45].any()


def test_a_batch_gives_what_one_by_one_gives(make_segmenter: Make) -> None:
    noise = np.random.default_rng(0)
    images = [noise.integers(0, 256, (30 + 7 * k, 50 + k, 3), dtype=np.uint8) for k in range(7)]
    phrases = ["a", "the unicorn", "a much longer phrase about it", "b", "c d", "unicorn and more words", "e"]
    ask = make_segmenter()
    alone = [ask(image, phrase) for image, phrase in zip(images, phrases, strict=True)]
    for batch_size in (1, 2, 3, 7, 50):
        for one, other in zip(alone, ask.batch(images, phrases, batch_size=batch_size), strict=True):
            assert (one.phrase, one.present) == (other.phrase, other.present)
            np.testing.assert_allclose(one.probability, other.probability, atol=1e-6)
            np.testing.assert_array_equal(one.mask, other.mask)


@pytest.mark.usefixtures("one_thread")
def test_batches_are_cut_and_read_only_when_their_turn_comes(
    make_segmenter: Make, bright_square: NDArray[np.uint8]
) -> None:
    read = 0

    def questions() -> Iterator[tuple[ImageSource, str]]:
        nonlocal read
        for _ in range(5):
            read += 1
            yield bright_square, "the square"

    ask = make_segmenter()
    results = ask.stream(questions(), batch_size=2)
    next(results)
    assert read == 2
    assert len(list(results)) == 4
    assert ask._backend.answerer.model.batch_sizes == [2, 2, 1]


@pytest.mark.usefixtures("one_thread")
def test_on_a_cpu_the_phrases_about_one_image_run_together(
    make_segmenter: Make, geotiff: Path, bright_square: NDArray[np.uint8]
) -> None:
    ask = make_segmenter()
    images = [geotiff] * 3 + [bright_square] * 10 + [Path(geotiff)]
    results = ask.batch(images, [f"phrase {index}" for index in range(14)])
    assert [result.phrase for result in results] == [f"phrase {index}" for index in range(14)]
    assert ask._backend.answerer.model.batch_sizes == [3, 8, 2, 1]
    assert ask._backend.answerer.model.image_counts == [1, 1, 1, 1]
    assert ask.batch_size == 8


@pytest.mark.parametrize(
    ("images", "questions", "copies"),
    [("aab", [3], [3]), ("aabb", [4], [2]), ("abc", [3], [3]), ("aaab", [4], [4]), ("aaaabb", [4, 2], [1, 1])],
)
def test_a_batch_may_hold_several_images(
    make_segmenter: Make, images: str, questions: list[int], copies: list[int]
) -> None:
    pictures = {name: np.full((8, 8, 3), 60 * grey, dtype=np.uint8) for grey, name in enumerate("abc", start=1)}
    ask = make_segmenter()
    results = ask.batch([pictures[name] for name in images], ["all"] * len(images), batch_size=4)
    assert ask._backend.answerer.model.batch_sizes == questions
    assert ask._backend.answerer.model.image_counts == copies
    for name, result in zip(images, results, strict=True):
        np.testing.assert_array_equal(result.image.rgb, pictures[name])
        np.testing.assert_allclose(
            result.probability, 1 / (1 + np.exp(-8 * (pictures[name][0, 0, 0] / 255 - 0.5))), 1e-5
        )


def test_where_phrases_share_nothing_of_a_large_model_they_run_one_by_one(
    make_segmenter: Make, bright_square: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = make_segmenter(block_fusion="bi", fusion_from_block=0)
    assert ask.batch_size == 8
    monkeypatch.setattr(answering, "LARGE_MODEL", 0)
    assert ask.batch_size == 1
    assert make_segmenter(block_fusion="bi", fusion_from_block=2).batch_size == 8


def test_what_was_asked_before_a_mistake_is_answered(make_segmenter: Make, bright_square: NDArray[np.uint8]) -> None:
    questions: list[tuple[ImageSource, str]] = [(bright_square, "a"), (bright_square, "b"), ("no such file", "c")]
    results = make_segmenter().stream(questions)
    assert [next(results).phrase, next(results).phrase] == ["a", "b"]
    with pytest.raises(UserError, match="no such image"):
        next(results)


def test_an_image_may_be_closed_once_the_next_question_is_asked_for(make_segmenter: Make, geotiff: Path) -> None:
    def questions() -> Iterator[tuple[ImageSource, str]]:
        for _ in range(2):
            with PIL.Image.open(geotiff) as picture:
                yield picture, "the square"

    assert all(result.present for result in make_segmenter().stream(questions()))


def test_the_masks_of_an_answer_are_joined_at_the_image_s_size(
    make_segmenter: Make, bright_square: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.full((2, 4, 4), -3.0)
    logits[0, 0, 0] = logits[1, 3, 3] = 5.0
    ask = make_segmenter()
    monkeypatch.setattr(ask._backend.answerer, "answer", lambda *_: [Answer(logits, present=True, score=0.25)])
    result = ask(bright_square, "both")
    one, other = (F.interpolate(layer[None, None], (80, 100), mode="bilinear")[0, 0] for layer in logits)
    np.testing.assert_array_equal(result.mask, (one > 0) | (other > 0))
    np.testing.assert_allclose(result.probability, torch.maximum(one, other).sigmoid())
    assert (result.score, result.present) == (0.25, True)


def test_several_phrases_about_one_file_read_it_once(
    make_segmenter: Make, geotiff: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = []

    def counted(source: ImageSource) -> Image:
        paths.append(source)
        return read_image(source)

    monkeypatch.setattr(segmenter, "read_image", counted)
    results = make_segmenter().batch([geotiff, geotiff, str(geotiff)], ["a", "b", "c"])
    assert paths == [geotiff, str(geotiff)]
    assert results[0].image is results[1].image


def test_every_kind_of_image_gives_the_same_answer(
    make_segmenter: Make, geotiff: Path, bright_square: NDArray[np.uint8]
) -> None:
    ask = make_segmenter()
    sources: list[ImageSource] = [geotiff, str(geotiff), bright_square, PIL.Image.open(geotiff), read_image(geotiff)]
    masks = [ask(source, "the square").mask for source in sources]
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])


@pytest.mark.parametrize("phrase", ["", "  \n", "x" * 1001, "a \x1b[31m b", "\udcff", 3])
def test_phrases_that_make_no_sense_are_refused(
    make_segmenter: Make, bright_square: NDArray[np.uint8], phrase: str
) -> None:
    with pytest.raises(UserError, match="phrase"):
        make_segmenter()(bright_square, phrase)


def test_batches_that_make_no_sense_are_refused(make_segmenter: Make, bright_square: NDArray[np.uint8]) -> None:
    ask = make_segmenter()
    with pytest.raises(UserError, match="2 for 1"):
        ask.batch([bright_square], ["a", "b"])
    with pytest.raises(UserError, match="lists"):
        ask.batch([bright_square], "a")
    with pytest.raises(UserError, match="at least 1"):
        ask.batch([bright_square], ["a"], batch_size=0)
    assert ask.batch([], []) == []


def test_too_little_memory_is_said_in_one_line(
    make_segmenter: Make, bright_square: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    ask = make_segmenter()
    monkeypatch.setattr(ask._backend.answerer.model, "forward", exhausted)
    with pytest.raises(UserError, match="--batch-size"):
        ask(bright_square, "the square")


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device.choose_device("auto") == device.choose_device("cpu") == torch.device("cpu")
    for missing in ("cuda", "cuda:1", "mps"):
        with pytest.raises(UserError, match="not available"):
            device.choose_device(missing)
    for wrong in ("gpu", "cuda:x", ""):
        with pytest.raises(UserError, match="unknown device"):
            device.choose_device(wrong)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device.choose_device("auto").type == "cuda"
    with pytest.raises(UserError, match="1 GPU"):
        device.choose_device("cuda:1")


def test_dtypes(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    able = {"avx512_bf16": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert device.choose_dtype("auto", cpu) == torch.bfloat16
    able.clear()
    assert device.choose_dtype("auto", cpu) == torch.float32
    assert device.choose_dtype("bfloat16", cpu) == torch.bfloat16
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in the oldest PyTorch that is supported
    for name, answer in (("_is_avx512_bf16_supported", False), ("_is_amx_tile_supported", True)):
        monkeypatch.setattr(torch.cpu, name, lambda answer=answer: answer)
    assert device.computes_in_bfloat16(cpu)
    for supported, expected in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda answer=supported, **_: answer)
        assert device.choose_dtype("auto", cuda) == expected
    with pytest.raises(UserError, match="float16"):
        device.choose_dtype("float16", cpu)


@pytest.mark.usefixtures("three_threads")
def test_no_more_images_at_once_than_threads(make_segmenter: Make) -> None:
    backend = make_segmenter()._backend
    with threads(2):
        assert backend.images_at_once == 2
    assert backend.images_at_once == 3


def test_load_hands_device_and_dtype_on(fake_model: torch.nn.Module, bright_square: NDArray[np.uint8]) -> None:
    ask = refersat.load("anything", device="cpu", dtype="float32")
    assert (ask.name, ask.device, ask.dtype, ask.parameters) == ("fake", torch.device("cpu"), torch.float32, 1)
    assert ask(bright_square, "the square").present
