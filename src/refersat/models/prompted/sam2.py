"""SAM 2 (Ravi et al., arXiv 2408.00714), by Transformers, as it was released."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import Sam2Model

from refersat.models.peers.preparation import Preparation
from refersat.models.peers.pretrained import load_network
from refersat.models.prompted.segmenter import Seen, on_one_image


class Sam2:
    """SAM 2 as a `PromptedSegmenter`. It computes in float32: prompts are coordinates.

    Args:
        model: on its device, in evaluation mode.
        preparation: of its images.
    """

    mask_threshold = 0.0

    def __init__(self, model: Sam2Model, preparation: Preparation) -> None:
        self.model = model
        self._preparation = preparation
        config: Any = model.config
        self._side = int(config.prompt_encoder_config.image_size)

    @classmethod
    def load(cls, folder: Path, *, device: torch.device) -> Sam2:
        """Load it from a folder of Transformers; that of the video model will do.

        Raises:
            UserError: something in the folder is damaged or does not fit.
        """
        preparation = Preparation().read(folder)
        return cls(load_network(Sam2Model, folder, device=device, dtype=torch.float32), preparation)

    @property
    def network(self) -> nn.Module:
        """Transformers' model."""
        return self.model

    @property
    def mask_decoder(self) -> nn.Module:
        """Transformers' part of it."""
        return cast(nn.Module, self.model.mask_decoder)

    def see(self, image: NDArray[np.uint8]) -> Seen:
        """At the side that the network was made for, in a square that does not keep the aspect ratio."""
        pixels = self._preparation.to_square(image, self._side).to(self.model.device)
        return Seen(tuple(self.model.get_image_embeddings(pixels)))

    def segment(self, seen: Seen, boxes: Tensor, points: Tensor | None = None) -> Tensor:
        """See `PromptedSegmenter.segment`."""
        prompts = on_one_image(boxes, points, (self._side, self._side), seen.levels[-1])
        output = self.model(image_embeddings=list(seen.levels), **prompts, multimask_output=False)
        return cast(Tensor, output.pred_masks[0, :, 0])
