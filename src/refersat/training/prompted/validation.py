"""Scores of a promptable network while it trains: its masks of true boxes."""

from __future__ import annotations

from collections.abc import Sequence
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


@torch.no_grad()
def validate(devices: Devices, segmenter: PromptedSegmenter, samples: Sequence[Sample]) -> dict[str, Any]:
    """IoU of the masks of true boxes: the same in every process, {} without samples that name something."""
    mine = samples[devices.rank :: devices.processes]
    rows: list[tuple[int, int]] = []
    for image, group in groupby(mine, key=lambda sample: sample.image):
        rgb = read_image(image).rgb
        height, width = rgb.shape[:2]
        targets = [(target_of(each, (height, width)), box_of_sample(each, (height, width))) for each in group]
        known = [(mask, box) for mask, box in targets if mask is not None and mask.any() and box is not None]
        if not known:
            continue
        boxes = torch.tensor([box for _, box in known]) / torch.tensor([width, height, width, height])
        logits = segmenter.segment(segmenter.see(rgb), boxes.float()).float().cpu()
        whole = F.interpolate(logits[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
        rows += [
            overlap(each.numpy(), mask) for each, (mask, _) in zip(whole > segmenter.mask_threshold, known, strict=True)
        ]
    tally = IouTally()
    for row in devices.together(rows):
        tally.add(*row)
    return tally.result() if tally.count else {}
