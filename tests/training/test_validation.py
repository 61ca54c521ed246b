"""Scores while a run goes on: every sample once, whoever answers it, and pictures of a few answers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from refersat.data.samples import Sample
from refersat.data.triplets import read_triplets
from refersat.evaluation.run import evaluate_samples
from refersat.segmenter import Segmenter
from refersat.training import validation
from refersat.training.interruption import CutShort
from refersat.training.pictures import pictures_of
from refersat.training.validation import spread_evenly, validate

SIZE = 64


@pytest.fixture
def samples(write_triplets: Callable[..., Path], tmp_path: Path) -> list[Sample]:
    """Five that name something, each of another size, and two that name nothing."""
    present = [("val", f"ship {side}", ("ship", 8, 8, side, side)) for side in (8, 16, 24, 32, 40)]
    absent = [("val", f"unicorn {number}", None) for number in range(2)]
    return list(read_triplets(write_triplets(tmp_path / "data", [*present, *absent])).samples)


def devices_of(rank: int, processes: int) -> Any:
    return SimpleNamespace(rank=rank, processes=processes, device=torch.device("cpu"))


@pytest.fixture
def model() -> Any:
    return SimpleNamespace(config=SimpleNamespace(image_size=999))


@pytest.fixture
def scores_of(
    make_segmenter: Callable[..., Segmenter], samples: list[Sample], model: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], list[dict[str, Any]]]:
    """Scores as each of so many processes gets them: run one after the other, what they gather is put together here."""
    seen: list[int] = []

    def segmenter_of(devices: Any, asked: Any, tokenizer: Any) -> Segmenter:
        seen.append(model.config.image_size)
        return make_segmenter()

    def scores(processes: int) -> list[dict[str, Any]]:
        parts: list[Any] = []
        monkeypatch.setattr(validation, "segmenter_of", segmenter_of)
        monkeypatch.setattr(validation, "broadcast_object_list", lambda shared: shared)
        found = []
        for rank in range(processes):
            monkeypatch.setattr(validation, "gather_object", lambda own: parts.extend(own) or list(parts))
            found.append(validate(devices_of(rank, processes), model, SimpleNamespace(), samples, SIZE))
        assert model.config.image_size == 999
        return found

    return scores


@pytest.mark.parametrize("processes", [2, 3, 7, 9])
def test_every_sample_counts_once(scores_of: Callable[[int], list[dict[str, Any]]], processes: int) -> None:
    (alone,) = scores_of(1)
    assert (alone["count"], alone["presence"]["count_absent"]) == (5, 2)
    together = scores_of(processes)[-1]  # the last one has gathered all parts
    assert json.dumps(together, sort_keys=True) == json.dumps(alone, sort_keys=True)


def test_who_is_cut_short_still_tells_the_others(
    scores_of: Callable[[int], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*words: Any, **named: Any) -> Any:
        asked.append(words)
        if len(asked) == 2:
            raise CutShort
        return evaluate_samples(*words, **named)

    asked: list[Any] = []
    monkeypatch.setattr(validation, "evaluate_samples", cut)
    found = scores_of(2)
    assert found[-1]["count"] + found[-1]["presence"]["count_absent"] == 4  # of seven, every second one


def test_without_samples_nothing_is_measured(model: Any) -> None:
    assert validate(devices_of(0, 1), model, SimpleNamespace(), [], SIZE) == {}  # type: ignore[arg-type]


def test_a_few_samples_are_spread_over_the_set() -> None:
    many: Any = list(range(100))
    assert spread_evenly(many, None) == many
    assert spread_evenly(many, 200) == many
    assert spread_evenly(many, 4) == [0, 25, 50, 75]
    assert len(set(spread_evenly(many, 33))) == 33


def test_pictures_of_the_same_few_answers(make_segmenter: Callable[..., Segmenter], samples: list[Sample]) -> None:
    pictures = pictures_of(make_segmenter(), samples)
    assert [picture.name for picture in pictures] == [sample.id for sample in spread_evenly(samples, 6)]
    for picture in pictures:
        assert picture.rgb.dtype == np.uint8
        assert picture.rgb.ndim == 3
        assert picture.rgb.shape[2] == 3
