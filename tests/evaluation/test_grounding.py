"""A grounder is asked about every sample, image by image, and its boxes and scores are counted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from refersat.data.samples import Sample
from refersat.evaluation.grounding import BoxEvaluation, ground_samples
from refersat.models.grounding.grounder import Grounded


class Oracle:
    """Finds the left half of everything; is sure of ships alone."""

    parameters = 0

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    def ground(self, image: NDArray[np.uint8], phrases: Sequence[str]) -> Grounded:
        self.asked.append(list(phrases))
        boxes = torch.tensor([[0.0, 0.0, 0.5, 1.0]]).expand(len(phrases), -1)
        return Grounded(boxes, torch.tensor([0.9 if "ship" in phrase else 0.2 for phrase in phrases]))


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    for name in ("a", "b"):
        Image.new("RGB", (40, 20)).save(tmp_path / f"{name}.png")

    def mask() -> NDArray[np.bool_]:
        truth = np.zeros((20, 40), bool)
        truth[:, :10] = True
        return truth

    a, b = tmp_path / "a.png", tmp_path / "b.png"
    return [
        Sample("1", a, "the ship", None, boxes=((0, 0, 20, 20),), category="ship"),
        Sample("2", a, "the ships", mask, boxes=((0, 0, 40, 20),), category="ship"),  # the mask is trusted
        Sample("3", b, "the tank", None, boxes=((30, 0, 45, 10), (30, 10, 40, 20)), category="tank"),
        Sample("4", b, "the bridge", None, absent=True),
    ]


def test_rows_and_scores(samples: list[Sample]) -> None:
    oracle, told = Oracle(), []
    rows = list(ground_samples(oracle, samples, on_sample=lambda: told.append(1)))
    assert oracle.asked == [["the ship", "the ships"], ["the tank", "the bridge"]]
    assert len(told) == 4
    assert [row.truth for row in rows] == [(0, 0, 20, 20), (0, 0, 10, 20), (30, 0, 40, 20), None]
    result = BoxEvaluation(rows).result()
    assert result["count"] == 3
    assert result["mIoU"] == pytest.approx(100 * (1 + 0.5 + 0) / 3)
    assert result["cumIoU"] == pytest.approx(100 * (400 + 200) / (400 + 400 + 600))
    assert {name: group["mIoU"] for name, group in result["by_category"].items()} == {"ship": 75, "tank": 0}
    assert result["presence"] == {"presence_auroc": pytest.approx(100 * 2.5 / 3), "count_present": 3, "count_absent": 1}
