"""Scores of a grounder while it trains, and pictures of its boxes; every process answers its share of the samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from refersat.data.samples import Sample
from refersat.evaluation.grounding import BoxEvaluation, ground_samples
from refersat.imagery import read_image
from refersat.models.grounding.language_query import LanguageQueryGrounder
from refersat.models.grounding.model import GroundingModel
from refersat.overlay import draw_overlay
from refersat.text.phrases import Tokenizer
from refersat.training.devices import Devices
from refersat.training.interruption import CutShort
from refersat.training.journal import Picture
from refersat.training.pictures import SHOWN
from refersat.training.validation import spread_evenly


def validate(
    devices: Devices,
    model: GroundingModel,
    tokenizer: Tokenizer,
    samples: Sequence[Sample],
    image_size: int,
    on_sample: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Box scores of a whole model in evaluation mode; see `Task.validate`."""
    if not samples:
        return {}
    with _at_size(model, image_size):
        mine = samples[devices.rank :: devices.processes]
        try:
            rows = list(ground_samples(LanguageQueryGrounder(model, tokenizer), mine, on_sample=on_sample))
        except CutShort:  # the other processes wait for a share all the same
            rows = []
    return BoxEvaluation(sorted(devices.together(rows), key=lambda row: row.id)).result()


def pictures_of(model: GroundingModel, tokenizer: Tokenizer, samples: Sequence[Sample]) -> list[Picture]:
    """The boxes for a few samples, the same ones each time."""
    grounder = LanguageQueryGrounder(model, tokenizer)
    pictures = []
    for sample in spread_evenly(samples, SHOWN):
        rgb = read_image(sample.image).rgb
        found = grounder.ground(rgb, [sample.phrase])
        height, width = rgb.shape[:2]
        x0, x1 = (round(share * width) for share in found.boxes[0, 0::2].tolist())
        y0, y1 = (round(share * height) for share in found.boxes[0, 1::2].tolist())
        mask = np.zeros((height, width), np.bool_)
        mask[y0:y1, x0:x1] = True
        score = float(found.scores[0])
        present = score >= model.config.presence_threshold
        drawn = draw_overlay(rgb, mask, phrase=sample.phrase, score=score, present=present)
        pictures.append(Picture(sample.id, np.asarray(drawn, dtype=np.uint8)))
    return pictures


@contextmanager
def _at_size(model: GroundingModel, image_size: int) -> Iterator[None]:
    own = model.config.image_size
    model.config.image_size = image_size
    try:
        yield
    finally:
        model.config.image_size = own
