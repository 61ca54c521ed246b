"""SAM (Kirillov et al., ICCV 2023), by Transformers, as it was released: what the PSLG-SAM paper builds on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import SamModel

from refersat.errors import UserError
from refersat.models.grounding.letterbox import letterbox
from refersat.models.peers.preparation import Preparation
from refersat.models.peers.pretrained import load_network
from refersat.models.prompted.segmenter import Seen, on_one_image


class Sam1:
    """SAM as a `PromptedSegmenter`. It computes in float32: prompts are coordinates.

    Args:
        model: on its device, in evaluation mode.
    """

    mask_threshold = 0.0

    def __init__(self, model: SamModel) -> None:
        self.model = model
        config: Any = model.config
        self._side = int(config.vision_config.image_size)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device) -> Sam1:
        """Load it from a folder of Transformers.

        Raises:
            UserError: something in the folder is damaged or does not fit, or it wants other images than SAM.
        """
        if Preparation().read(folder) != Preparation():
            raise UserError(f"{folder} wants other images than SAM: bilinear, with ImageNet's mean and deviation")
        return cls(load_network(SamModel, folder, device=device, dtype=torch.float32))

    @property
    def network(self) -> nn.Module:
        """Transformers' model."""
        return self.model

    @property
    def mask_decoder(self) -> nn.Module:
        """Transformers' part of it."""
        return cast(nn.Module, self.model.mask_decoder)

    def see(self, image: NDArray[np.uint8]) -> Seen:
        """With its aspect ratio, the longer side as long as the network was made for."""
        pixels, valid = letterbox([image], self._side)
        levels = (self.model.get_image_embeddings(pixels.to(self.model.device)),)
        return Seen(levels, (float(valid[0, 0]), float(valid[0, 1])))

    def segment(self, seen: Seen, boxes: Tensor, points: Tensor | None = None) -> Tensor:
        """See `PromptedSegmenter.segment`."""
        width, height = (round(share * self._side) for share in seen.shares)
        prompts = on_one_image(boxes, points, (width, height), seen.levels[0])
        output = self.model(image_embeddings=seen.levels[0], **prompts, multimask_output=False)
        # What was filled up is cut off where a pixel of the view is one of the logits, as SAM's authors do.
        whole = F.interpolate(output.pred_masks[0], (self._side, self._side), mode="bilinear", align_corners=False)
        return whole[:, 0, :height, :width]
