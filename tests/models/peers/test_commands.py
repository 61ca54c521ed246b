"""Peers in the commands that users run."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from numpy.typing import NDArray

from refersat.cli.main import main

Photos = list[NDArray[np.uint8]]


@pytest.mark.parametrize("source", ["sam3_source", "grounded_source"])
def test_predict(
    source: str, photos: Photos, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = request.getfixturevalue(source)
    PIL.Image.fromarray(photos[0]).save(tmp_path / "harbour.png")
    words = ["predict", str(tmp_path / "harbour.png"), "-t", "the ship", "-t", "a bridge", "--model", str(folder)]
    assert main([*words, "--device", "cpu", "--json", "--out", str(tmp_path / "out")]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [(answer["phrase"], answer["model"]) for answer in answers] == [
        ("the ship", folder.name),
        ("a bridge", folder.name),
    ]
    for answer in answers:
        assert np.asarray(PIL.Image.open(answer["mask"])).shape == photos[0].shape[:2]


@pytest.mark.parametrize("source", ["sam3_source", "grounded_source"])
def test_evaluate(source: str, photos: Photos, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    items = []
    for index, photo in enumerate(photos[:2]):
        PIL.Image.fromarray(photo).save(tmp_path / f"{index}.png")
        PIL.Image.fromarray((photo[..., 0] > 100).astype(np.uint8) * 255).save(tmp_path / f"{index}.mask.png")
        item = {"id": str(index), "image": f"{index}.png", "mask": f"{index}.mask.png", "sentence": "the ship"}
        items += [item, item | {"id": f"{index}b", "mask": None, "sentence": "a bridge"}]
    (tmp_path / "refs.json").write_text(json.dumps(items))
    folder, out = request.getfixturevalue(source), tmp_path / "out"
    words = ["evaluate", "--model", str(folder), "--data", f"triplets:{tmp_path}", "--out", str(out), "--device", "cpu"]
    assert main(words) == 0
    with (out / "per_sample.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["id"] for row in rows] == ["0", "0b", "1", "1b"]
    assert len({row["present_score"] for row in rows}) == 4
