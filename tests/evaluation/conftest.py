"""A data set whose images carry their own answer, and a segmenter that reads it off."""

import json

import numpy as np
import pytest
import torch
from PIL import Image as PillowImage

from refersat.imagery import read_image
from refersat.result import Result


class RedSegmenter:
    """Answers with the red band as the probability; its largest value is the score."""

    name = "red"
    device = torch.device("cpu")
    number_format = "float32"
    threshold = 0.5
    parameters = 0
    batch_size = 2

    def __init__(self):
        self.asked = []

    def stream(self, questions, *, threshold=None, batch_size=None):
        for source, phrase in questions:
            image = read_image(source)
            self.asked.append(phrase)
            probability = image.rgb[..., 0].astype(np.float32) / 255
            mask = probability > (self.threshold if threshold is None else threshold)
            score = float(probability.max())
            yield Result(image, phrase, self.name, mask, probability, score, bool(mask.any()), seconds=0.25)


@pytest.fixture
def segmenter():
    return RedSegmenter()


@pytest.fixture
def write_triplets(tmp_path):
    """Writes (prediction, truth or None, further fields) as a triplets folder; predictions are grey values 0..255."""

    def write(cases):
        folder = tmp_path / "set"
        folder.mkdir()
        items = []
        for k, (prediction, truth, fields) in enumerate(cases):
            red = np.zeros((*prediction.shape, 3), np.uint8)
            red[..., 0] = prediction
            PillowImage.fromarray(red).save(folder / f"{k}.png")
            item = {"id": f"s{k}", "image": f"{k}.png", "mask": None, "sentence": f"phrase {k}", **fields}
            if truth is not None:
                item["mask"] = f"{k}.mask.png"
                PillowImage.fromarray(truth.astype(np.uint8)).save(folder / item["mask"])
            items.append(item)
        (folder / "refs.json").write_text(json.dumps(items))
        return folder

    return write
