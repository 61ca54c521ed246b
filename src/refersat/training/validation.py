"""Scores of the model while it trains, by the `native` protocol; every process answers its share of the samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object

from refersat.data.samples import Sample
from refersat.evaluation.protocol import PROTOCOLS
from refersat.evaluation.rows import Evaluation
from refersat.evaluation.run import evaluate_samples
from refersat.models.loading import LoadedModel
from refersat.models.rs2sam2 import RS2Sam2Model
from refersat.models.torch_backend import TorchBackend
from refersat.segmenter import Segmenter
from refersat.text.tokenizer import PhraseTokenizer
from refersat.training.devices import Devices
from refersat.training.interruption import CutShort


def spread_evenly(samples: Sequence[Sample], most: int | None) -> list[Sample]:
    """At most so many of the samples, evenly spread, the same ones each time."""
    if most is None:
        return list(samples)
    step = max(1.0, len(samples) / most)
    return [samples[int(k * step)] for k in range(min(len(samples), most))]


def validate(
    devices: Devices,
    model: RS2Sam2Model,
    tokenizer: PhraseTokenizer,
    samples: Sequence[Sample],
    image_size: int,
    on_sample: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Scores of a whole model in evaluation mode; see `Task.validate`."""
    if not samples:
        return {}
    total = Evaluation.empty([PROTOCOLS["native"]])
    segmenter = segmenter_of(devices, model, tokenizer)
    own_size = model.config.image_size
    model.config.image_size = image_size
    try:
        mine = samples[devices.rank :: devices.processes]
        counted = evaluate_samples(segmenter, mine, protocols=[PROTOCOLS["native"]], on_sample=on_sample)
    except CutShort:  # the other processes wait for a share all the same
        counted = Evaluation.empty([PROTOCOLS["native"]])
    finally:
        model.config.image_size = own_size
    for part in gather_object([counted]):
        total.merge(part)
    shared = [{**total.tallies["native"].result(), "presence": total.presence.result()}]
    broadcast_object_list(shared)
    return shared[0]


def segmenter_of(devices: Devices, model: RS2Sam2Model, tokenizer: PhraseTokenizer) -> Segmenter:
    """What answers with the model as it is now."""
    loaded = LoadedModel(model=model, tokenizer=tokenizer, name="training", card=None)
    return Segmenter(TorchBackend.of(loaded, device=devices.device, dtype=torch.float32), name=loaded.name)
