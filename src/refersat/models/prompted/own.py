"""An RS2-SAM 2 of this package as a promptable network: its trunk without a phrase, then SAM 2 as it is.

Trunk, neck, prompt encoder and mask decoder of our model are SAM 2's. Without a phrase nothing is fused, and with a box
and a point in place of the phrase's prompt what is left is a SAM 2 of any size. That says nothing about how well it
segments: the prompt encoder's weights must have been trained with boxes and points.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from refersat.models.preprocess import square_view
from refersat.models.prompted.segmenter import Seen, on_one_image
from refersat.models.rs2sam2 import RS2Sam2Model


class OwnSam:
    """An `RS2Sam2Model` as a `PromptedSegmenter`.

    Args:
        model: on its device, in evaluation mode.
    """

    mask_threshold = 0.0

    def __init__(self, model: RS2Sam2Model) -> None:
        self.model = model

    @classmethod
    def load(cls, folder: Path, *, device: torch.device) -> OwnSam:
        """Load it from a model folder of ours, in float32: prompts are coordinates.

        Raises:
            UserError: something in the folder is damaged or does not fit.
        """
        from refersat.models.loading import build, read_folder  # which imports us

        return cls(build(read_folder(folder), device=device, dtype=torch.float32))

    @property
    def network(self) -> nn.Module:
        """The whole model, of which the union encoder and all fusion rest."""
        return self.model

    @property
    def mask_decoder(self) -> nn.Module:
        """SAM 2's part of it."""
        return self.model.mask_decoder

    def see(self, image: NDArray[np.uint8]) -> Seen:
        """At the side of the model's configuration, in a square that does not keep the aspect ratio."""
        model, config = self.model, self.model.config
        pixels = square_view(image, config.image_size, antialias=config.resize_antialias)
        maps, _ = model.trunk(model.trunk.look(pixels.to(model.device)), None, None)
        fine, middle, coarse = model.feature_levels(maps)
        image_embedding = coarse + model.no_memory_embedding.transpose(1, 2)[..., None]
        return Seen((model.mask_decoder.conv_s0(fine), model.mask_decoder.conv_s1(middle), image_embedding))

    def segment(self, seen: Seen, boxes: Tensor, points: Tensor | None = None) -> Tensor:
        """See `PromptedSegmenter.segment`."""
        model, side = self.model, self.model.config.image_size
        *details, image = seen.levels
        prompts = on_one_image(boxes, points, (side, side), image)
        sparse, dense = model.prompt_encoder(
            prompts.get("input_points"), prompts.get("input_labels"), prompts["input_boxes"], None
        )
        masks: Tensor = model.mask_decoder(
            image_embeddings=image,
            image_positional_embeddings=model.image_positions(image),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=False,
            high_resolution_features=details,
        )[0]
        return masks[0, :, 0].float()
