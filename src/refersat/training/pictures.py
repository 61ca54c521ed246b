"""Answers of the model drawn on their images, for TensorBoard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from refersat.data.samples import Sample
from refersat.overlay import draw_overlay
from refersat.segmenter import Segmenter
from refersat.training.journal import Picture
from refersat.training.validation import spread_evenly

SHOWN = 6


def pictures_of(segmenter: Segmenter, samples: Sequence[Sample]) -> list[Picture]:
    """The answers to a few samples, the same ones each time."""
    pictures = []
    for sample in spread_evenly(samples, SHOWN):
        result = segmenter(sample.image, sample.phrase)
        drawn = draw_overlay(
            result.image.rgb, result.mask, phrase=sample.phrase, score=result.score, present=result.present
        )
        pictures.append(Picture(sample.id, np.asarray(drawn, dtype=np.uint8)))
    return pictures
