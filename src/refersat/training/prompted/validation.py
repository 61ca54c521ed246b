"""Scores of a promptable network while it trains: its masks of true boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F

from refersat.data.samples import Sample
from refersat.data.target import target_of
from refersat.data.target_box import box_of_sample
from refersat.evaluation.metrics import IouTally, overlap
from refersat.imagery import read_image
from refersat.models.prompted.segmenter import PromptedSegmenter
from refersat.training.devices import Devices
from refersat.training.interruption import CutShort


@torch.no_grad()
def validate(
    devices: Devices,
    segmenter: PromptedSegmenter,
    samples: Sequence[Sample],
    on_sample: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """IoU of the masks of true boxes: the same in every process, {} without samples that name something."""
    try:
        rows = list(_rows(segmenter, samples[devices.rank :: devices.processes], on_sample))
    except CutShort:  # the other processes wait for a share all the same
        rows = []
    tally = IouTally()
    for row in devices.together(rows):
        tally.add(*row)
    return tally.result() if tally.count else {}


def _rows(
    segmenter: PromptedSegmenter, samples: Sequence[Sample], on_sample: Callable[[], None]
) -> Iterator[tuple[int, int]]:
    """Intersection and union for each sample that names something."""
    for image, group in groupby(samples, key=lambda sample: sample.image):
        rgb = read_image(image).rgb
        height, width = rgb.shape[:2]
        targets = []
        for each in group:
            on_sample()
            mask, box = target_of(each, (height, width)), box_of_sample(each, (height, width))
            if mask is not None and mask.any() and box is not None:
                targets.append((mask, box))
        if not targets:
            continue
        boxes = torch.tensor([box for _, box in targets]) / torch.tensor([width, height, width, height])
        logits = segmenter.segment(segmenter.see(rgb), boxes.float()).float().cpu()
        whole = F.interpolate(logits[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
        for each, (mask, _) in zip(whole > segmenter.mask_threshold, targets, strict=True):
            yield overlap(each.numpy(), mask)
